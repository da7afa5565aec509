/**
 * Files that are there after a power cut: written whole, hashed on the way, synced; read back only if length and SHA-256 are
 * right. Writing goes to Node's thread pool, hashing to the hash worker (P1).
 */
import { randomUUID } from "node:crypto";
import { mkdir, open, rename, rm, stat, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { errnoOf, OarlockError } from "@oarlock/errors";
import { createHasher } from "@oarlock/runtime";

/** What a manifest says of a file. */
export interface FileFacts {
  readonly bytes: number;
  /** SHA-256 in lower-case hex. */
  readonly sha256: string;
}

const PIECE_BYTES = 4 * 1024 * 1024;

/** What a file is to hold; in pieces, where it may be more than fits into memory. */
export type FileData = Uint8Array | AsyncIterable<Uint8Array>;

/** Writes a new file and syncs it. @throws OarlockError `CHECKPOINT_DISK_FULL`, `CHECKPOINT_IO_FAILED`. */
export async function writeDurably(path: string, data: FileData, signal?: AbortSignal): Promise<FileFacts> {
  const isWhole = data instanceof Uint8Array;
  let bytes = 0;
  try {
    await using hasher = createHasher();
    const file = await open(path, "wx");
    try {
      for await (const piece of isWhole ? piecesOf(data) : data) {
        signal?.throwIfAborted();
        await Promise.all([file.writeFile(piece), hasher.update(piece)]);
        bytes += piece.byteLength;
      }
      await file.sync();
    } finally {
      await file.close();
    }
    return { bytes, sha256: await hasher.finish() };
  } catch (reason) {
    throw asDiskError(reason, `writing ${path}${isWhole ? ` (${data.byteLength} bytes)` : ""}`);
  }
}

function* piecesOf(data: Uint8Array): Generator<Uint8Array> {
  for (let offset = 0; offset < data.byteLength; offset += PIECE_BYTES)
    yield data.subarray(offset, offset + PIECE_BYTES);
}

/** Writes `path` whole or not at all, whatever was there; durable when it resolves. `check` may throw before it is there. */
export async function replaceDurably(
  path: string,
  data: FileData,
  signal?: AbortSignal,
  check?: (written: FileFacts) => void,
): Promise<FileFacts> {
  const draft = join(dirname(path), `.${randomUUID()}`);
  const replace = async (): Promise<FileFacts> => {
    const written = await writeDurably(draft, data, signal);
    check?.(written);
    await rename(draft, path);
    return written;
  };
  const facts = await replace().catch(async (reason: unknown) => {
    // A disk that is full would stay so, a draft fuller at every attempt.
    await rm(draft, { force: true });
    throw reason;
  });
  await syncFolder(dirname(path));
  return facts;
}

/**
 * Reads a file whose length and digest are known; the length is compared before anything is allocated.
 *
 * @throws OarlockError `CHECKPOINT_CORRUPT` that says what is wrong.
 */
export async function readVerified(
  path: string,
  facts: FileFacts,
  signal?: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  const size = await sizeOf(path);
  if (size !== facts.bytes) {
    throw new OarlockError(
      "CHECKPOINT_CORRUPT",
      `${path}: ${size ?? "no"} bytes, the manifest says ${facts.bytes}`,
    );
  }
  try {
    await using hasher = createHasher();
    await using file = await open(path, "r");
    const data = new Uint8Array(facts.bytes);
    for (let offset = 0; offset < data.byteLength;) {
      signal?.throwIfAborted();
      const { bytesRead } = await file.read(
        data,
        offset,
        Math.min(PIECE_BYTES, data.byteLength - offset),
        offset,
      );
      if (bytesRead === 0) break;
      await hasher.update(data.subarray(offset, offset + bytesRead));
      offset += bytesRead;
    }
    const sha256 = await hasher.finish();
    if (sha256 === facts.sha256) return data;
    throw new OarlockError(
      "CHECKPOINT_CORRUPT",
      `${path}: SHA-256 is ${sha256}, the manifest says ${facts.sha256}`,
    );
  } catch (reason) {
    throw asDiskError(reason, `reading ${path}`);
  }
}

/** Bytes of a file; undefined when there is none. */
export async function sizeOf(path: string): Promise<number | undefined> {
  try {
    const found = await stat(path);
    return found.isFile() ? found.size : undefined;
  } catch (reason) {
    if (errnoOf(reason) === "ENOENT" || errnoOf(reason) === "ENOTDIR") return undefined;
    throw asDiskError(reason, `looking at ${path}`);
  }
}

/** Makes names in a folder durable: a rename is only that once its folder is synced. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Makes a folder and its parents. */
export async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
  } catch (reason) {
    throw asDiskError(reason, `making the folder ${path}`);
  }
}

/** Refuses early what cannot fit; a disk that fills meanwhile is told by the write. @throws `CHECKPOINT_DISK_FULL`. */
export async function requireSpace(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  if (free < bytes) {
    throw new OarlockError(
      "CHECKPOINT_DISK_FULL",
      `${folder}: a checkpoint takes ${bytes} bytes, ${free} are free`,
      {
        retryable: true,
      },
    );
  }
}

/** No space, no quota, a limit on file sizes: to a checkpoint they are one thing. */
const FULL: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

/** Ours for what the system says; anything that has a name of its own passes. */
export function asDiskError(reason: unknown, doing: string): Error {
  const errno = errnoOf(reason);
  if (errno === undefined || !/^E[A-Z0-9]+$/.test(errno))
    return reason instanceof Error
      ? reason
      : new OarlockError("CHECKPOINT_IO_FAILED", doing, { cause: reason });
  const full = FULL.has(errno);
  const message = full ? `${doing}: the disk is full (${errno})` : `${doing}: ${errno}`;
  return new OarlockError(full ? "CHECKPOINT_DISK_FULL" : "CHECKPOINT_IO_FAILED", message, {
    cause: reason,
    retryable: full,
  });
}
