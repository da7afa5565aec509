/** What a bucket holds of a folder, as bytes, checked on the way in: it comes from another process. Pure. */
import { OarlockError } from "@oarlock/errors";

/** A file of the folder, and the object that holds it. */
export interface KeptFile {
  /** Below the folder, with `/`. */
  readonly path: string;
  readonly object: string;
  readonly bytes: number;
  /** SHA-256 in lower-case hex. */
  readonly sha256: string;
}

/** Where the list of files is. */
export interface FolderPointer {
  readonly object: string;
  readonly sha256: string;
}

export const MAX_FOLDER_MANIFEST_BYTES: number = 4 * 1024 * 1024;

const SHA256 = /^[0-9a-f]{64}$/;
/** No part of it is empty or begins with a dot, so none leads out of the folder. */
const PATH = /^[^./\\\0][^/\\\0]*(\/[^./\\\0][^/\\\0]*)*$/;

export function encodeFiles(files: readonly KeptFile[]): Uint8Array {
  return Buffer.from(JSON.stringify({ files }));
}

/** @throws OarlockError `FOLDER_CORRUPT`. */
export function decodeFiles(bytes: Uint8Array): readonly KeptFile[] {
  const { files } = parse(bytes, "list of files") as { files?: unknown };
  if (!Array.isArray(files) || !files.every(isFile)) throw corrupt("its list of files is of no known form");
  return files;
}

export function encodePointer(pointer: FolderPointer): Uint8Array {
  return Buffer.from(JSON.stringify(pointer));
}

/** @throws OarlockError `FOLDER_CORRUPT`. */
export function decodePointer(bytes: Uint8Array): FolderPointer {
  const pointer = parse(bytes, "pointer");
  if (has(pointer, "object") && isDigest(pointer, "sha256")) return pointer as FolderPointer;
  throw corrupt("its pointer is of no known form");
}

function isFile(value: unknown): value is KeptFile {
  if (!has(value, "object") || !has(value, "path") || !isDigest(value, "sha256")) return false;
  const { path, bytes } = value as Record<string, unknown>;
  return PATH.test(String(path)) && Number.isSafeInteger(bytes) && Number(bytes) >= 0;
}

const has = (value: unknown, key: string): boolean =>
  typeof (value as Record<string, unknown> | null)?.[key] === "string";

const isDigest = (value: unknown, key: string): boolean =>
  SHA256.test(String((value as Record<string, unknown> | null)?.[key]));

function parse(bytes: Uint8Array, what: string): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch (cause) {
    throw corrupt(`its ${what} is no JSON`, cause);
  }
}

/** What is kept of a folder cannot be used. */
export function corrupt(what: string, cause?: unknown): OarlockError {
  return new OarlockError("FOLDER_CORRUPT", `what is kept of the run folder is damaged: ${what}`, { cause });
}
