/** A checkpoint's manifest as text: every file with length and digest, and a digest over all of that. Checked when read. */
import { OarlockError } from "@oarlock/errors";
import { sha256Hex } from "@oarlock/runtime";
import type { FileFacts } from "./durable-file.ts";
import type { CheckpointArray } from "./types.ts";

const FORMAT = "oarlock.dev/checkpoint/v1";

/** Element types by their names in manifests. */
export type ArrayKind = "float32" | "int32" | "uint8" | "int64";

interface ArrayType {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBuffer): CheckpointArray;
}

const ARRAYS: { readonly [K in ArrayKind]: ArrayType } = {
  float32: Float32Array,
  int32: Int32Array,
  uint8: Uint8Array,
  int64: BigInt64Array,
};

/** An array's file. */
export interface ArrayFile extends FileFacts {
  readonly name: string;
  readonly kind: ArrayKind;
}

/** What a checkpoint consists of. */
export interface Manifest {
  readonly incarnation: number;
  readonly step: number;
  readonly revision: number;
  readonly state: FileFacts;
  readonly arrays: readonly ArrayFile[];
}

/** Names of the files inside a checkpoint's folder. */
export const MANIFEST_FILE = "manifest.json";
export const STATE_FILE = "state.json";

/** The file of an array. @throws OarlockError `CHECKPOINT_NAME_INVALID`: names become file names. */
export function arrayFile(name: string): string {
  if (/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$/.test(name)) return `${name}.bin`;
  const message = `array name ${JSON.stringify(name)}: letters, digits, ".", "_", "-", 100 at most, no "." in front`;
  throw new OarlockError("CHECKPOINT_NAME_INVALID", message);
}

/** The manifest's name for an array's type. */
export function kindOf(array: CheckpointArray): ArrayKind {
  if (array instanceof Float32Array) return "float32";
  if (array instanceof Int32Array) return "int32";
  return array instanceof Uint8Array ? "uint8" : "int64";
}

/** The array over bytes that were read. */
export function arrayFrom(kind: ArrayKind, bytes: Uint8Array<ArrayBuffer>): CheckpointArray {
  return new ARRAYS[kind](bytes.buffer);
}

/** The manifest's text and the digest of its content. */
export function encodeManifest(manifest: Manifest): { readonly text: string; readonly digest: string } {
  const digest = sha256Hex(JSON.stringify(manifest));
  return { text: `${JSON.stringify({ format: FORMAT, digest, content: manifest }, undefined, 2)}\n`, digest };
}

/** @throws OarlockError `CHECKPOINT_CORRUPT` unless it is exactly what `encodeManifest` wrote. */
export function decodeManifest(
  text: string,
  path: string,
): { readonly manifest: Manifest; readonly digest: string } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (reason) {
    throw new OarlockError("CHECKPOINT_CORRUPT", `${path} is no JSON`, { cause: reason });
  }
  const { format, digest, content } = fields(value);
  if (format !== FORMAT)
    throw new OarlockError("CHECKPOINT_CORRUPT", `${path}: format ${String(format)}, not ${FORMAT}`);
  if (digest !== sha256Hex(JSON.stringify(content ?? null))) {
    throw new OarlockError("CHECKPOINT_CORRUPT", `${path}: its content is not what its digest says`);
  }
  if (!isManifest(content))
    throw new OarlockError("CHECKPOINT_CORRUPT", `${path}: its content has another form`);
  return { manifest: content, digest: String(digest) };
}

function fields(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 0;

function isFileFacts(value: unknown): boolean {
  const { bytes, sha256 } = fields(value);
  return isCount(bytes) && typeof sha256 === "string" && /^[0-9a-f]{64}$/.test(sha256);
}

function isArrayFile(value: unknown): boolean {
  const { name, kind, bytes } = fields(value);
  if (
    !isFileFacts(value) ||
    typeof name !== "string" ||
    typeof kind !== "string" ||
    !Object.hasOwn(ARRAYS, kind)
  )
    return false;
  // `kind` was just found among the names.
  return Number(bytes) % ARRAYS[kind as ArrayKind].BYTES_PER_ELEMENT === 0 && arrayFile(name).length > 0;
}

function isManifest(value: unknown): value is Manifest {
  const { incarnation, step, revision, state, arrays } = fields(value);
  if (!isCount(incarnation) || !isCount(step) || !isCount(revision) || !isFileFacts(state)) return false;
  return Array.isArray(arrays) && arrays.every(isArrayFile);
}
