/**
 * The header of a safetensors file: eight bytes of length, then JSON that says where each tensor lies. Everything is
 * checked here, against the size of the file, before anything is allocated for a tensor.
 *
 * As the format's own reader does, holes, overlaps and bytes that belong to no tensor are refused.
 */
import { OarlockError } from "@oarlock/errors";
import { bytesPerElement, type DType } from "@oarlock/tensor";
import { dtypeOf, FORMAT_NAMES } from "./dtypes.ts";
import { duplicateKey } from "./duplicate-keys.ts";

/** Where a tensor lies and what it is. */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** From the start of the file. */
  readonly offsetBytes: number;
  readonly sizeBytes: number;
}

export interface Header {
  /** Free text by the writer, e.g. `{ format: "pt" }`. */
  readonly metadata: Readonly<Record<string, string>>;
  /** By place in the file. */
  readonly entries: readonly TensorEntry[];
}

/** Bytes of the length that a file begins with. */
export const LENGTH_BYTES = 8;
/** The limit of the format's own reader. */
export const MAX_HEADER_BYTES = 100_000_000;
/** More dimensions than this are no model's. */
const MAX_DIMENSIONS = 32;

const refuse = (message: string): never => {
  throw new OarlockError("SAFETENSORS_INVALID", message);
};

/** The length of the JSON, from the first eight bytes. Throws `SAFETENSORS_INVALID` where it cannot be. */
export function headerLength(start: Uint8Array, fileBytes: number): number {
  if (fileBytes < LENGTH_BYTES || start.length < LENGTH_BYTES) {
    refuse(`${fileBytes} bytes are no safetensors file: it begins with 8 bytes of header length`);
  }
  const length = new DataView(start.buffer, start.byteOffset, LENGTH_BYTES).getBigUint64(0, true);
  const most = Math.min(MAX_HEADER_BYTES, fileBytes - LENGTH_BYTES);
  if (length < 2n || length > BigInt(most)) {
    refuse(`the header claims ${length} bytes; accepted in this file: 2 to ${most}`);
  }
  return Number(length);
}

/** Parses and checks the JSON. `fileBytes` is the size of the whole file. Throws `SAFETENSORS_INVALID` with the reason. */
export function parseHeader(json: Uint8Array, fileBytes: number): Header {
  const text = decodeText(json);
  const value = parseJson(text);
  const repeated = duplicateKey(text);
  if (repeated !== undefined) refuse(`the header holds ${JSON.stringify(repeated)} twice`);
  const dataStart = LENGTH_BYTES + json.length;
  const dataBytes = fileBytes - dataStart;
  const entries = Object.entries(value)
    .filter(([name]) => name !== "__metadata__")
    .map(([name, stated]) => readEntry(name, stated, { dataStart, dataBytes }));
  entries.sort((left, right) => left.offsetBytes - right.offsetBytes || left.sizeBytes - right.sizeBytes);
  checkCoverage(entries, dataStart, fileBytes);
  return { metadata: readMetadata(value["__metadata__"]), entries };
}

function decodeText(json: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json);
  } catch (cause) {
    throw new OarlockError("SAFETENSORS_INVALID", "the header is no UTF-8 text", { cause });
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function parseJson(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new OarlockError("SAFETENSORS_INVALID", "the header is no JSON", { cause });
  }
  return isObject(value) ? value : refuse("the header holds no JSON object");
}

function readMetadata(stated: unknown): Record<string, string> {
  if (stated === undefined) return {};
  if (!isObject(stated)) return refuse("__metadata__ is no object of texts");
  const entries = Object.entries(stated).map(([key, value]): [string, string] => {
    if (typeof value === "string") return [key, value];
    return refuse(`__metadata__.${key} is ${typeof value}; accepted: text`);
  });
  return Object.fromEntries(entries);
}

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

interface DataRange {
  readonly dataStart: number;
  readonly dataBytes: number;
}

function readEntry(name: string, stated: unknown, { dataStart, dataBytes }: DataRange): TensorEntry {
  const fail = (what: string): never => refuse(`tensor ${JSON.stringify(name)}: ${what}`);
  if (!isObject(stated)) return fail("its entry is no object");
  const { dtype: typeName, shape, data_offsets: offsets } = stated;
  const dtype = dtypeOf(String(typeName));
  if (dtype === undefined) {
    return fail(`dtype is ${JSON.stringify(typeName)}; accepted: ${FORMAT_NAMES.join(", ")}`);
  }
  const dims = sizes(shape);
  if (dims === undefined || dims.length > MAX_DIMENSIONS) {
    return fail(`shape is no list of at most ${MAX_DIMENSIONS} sizes`);
  }
  const pair = sizes(offsets);
  if (pair?.length !== 2) return fail("data_offsets is no pair of sizes");
  const [begin = 0, end = 0] = pair;
  if (begin > end || end > dataBytes) {
    return fail(`data_offsets [${begin}, ${end}] do not lie in the file's ${dataBytes} bytes of data`);
  }
  const needed = dims.reduce((product, dim) => product * dim, bytesPerElement(dtype));
  if (needed !== end - begin) {
    const what = `${String(typeName)} [${dims.join(", ")}]`;
    return fail(`${what} takes ${needed} bytes, its data_offsets hold ${end - begin}`);
  }
  return { name, dtype, shape: dims, offsetBytes: dataStart + begin, sizeBytes: needed };
}

/** The list, where it is one of non-negative integers. */
function sizes(stated: unknown): readonly number[] | undefined {
  return Array.isArray(stated) && stated.every(isSize) ? stated : undefined;
}

/** `entries` by place: each begins where the one before ends, the last ends with the file. */
function checkCoverage(entries: readonly TensorEntry[], dataStart: number, fileBytes: number): void {
  let end = dataStart;
  for (const { name, offsetBytes, sizeBytes } of entries) {
    if (offsetBytes < end) refuse(`tensor ${JSON.stringify(name)} overlaps the one before it`);
    if (offsetBytes > end)
      refuse(`${offsetBytes - end} bytes before tensor ${JSON.stringify(name)} belong to no tensor`);
    end = offsetBytes + sizeBytes;
  }
  if (end !== fileBytes) refuse(`${fileBytes - end} bytes at the end of the file belong to no tensor`);
}
