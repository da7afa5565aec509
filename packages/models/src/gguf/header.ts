/**
 * The header of a GGUF file, through the hub's own reader, which bounds every count and length it finds there; then
 * checked against the size of the file before anything is allocated for a tensor.
 */
import { gguf } from "@huggingface/gguf";
import { OarlockError } from "@oarlock/errors";
import type { JsonObject } from "../json.ts";
import { type StorageType, STORAGE_TYPES, storageType, storedBytes } from "./dequantize.ts";

export interface GgufTensor {
  readonly name: string;
  /** Outermost dimension first, as everywhere else here (GGUF writes them the other way round). */
  readonly shape: readonly number[];
  readonly type: StorageType;
  /** From the start of the file. */
  readonly offsetBytes: number;
  readonly sizeBytes: number;
}

export interface GgufHeader {
  readonly metadata: JsonObject;
  readonly tensors: readonly GgufTensor[];
}

/** Throws `MODEL_GGUF` with the reason. */
export async function readGgufHeader(path: string, fileBytes: number): Promise<GgufHeader> {
  const parsed = await gguf(path, { allowLocalFile: true }).catch((cause: unknown) => {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new OarlockError("MODEL_GGUF", `${path}: ${reason}`, { cause });
  });
  if (!parsed.littleEndian)
    throw new OarlockError("MODEL_GGUF", `${path} is big-endian; accepted: little-endian`);
  const dataStart = Number(parsed.tensorDataOffset);
  const seen = new Set<string>();
  const tensors = parsed.tensorInfos.map(({ name, shape, dtype, offset }): GgufTensor => {
    const fail = (what: string): never => {
      throw new OarlockError("MODEL_GGUF", `${path}: tensor ${name} ${what}`);
    };
    if (seen.has(name)) fail("is there twice");
    seen.add(name);
    const type = storageType(dtype) ?? fail(`is stored as type ${dtype}; accepted: ${ACCEPTED}`);
    const dims = shape.map(Number).reverse();
    const elements = dims.reduce((product, dim) => product * dim, 1);
    const columns = dims.at(-1) ?? 1;
    if (storedBytes(type, columns) === undefined)
      fail(`has rows of ${columns}, which are no whole ${type} blocks`);
    const sizeBytes = storedBytes(type, elements) ?? 0;
    const offsetBytes = dataStart + Number(offset);
    if (!(Number.isSafeInteger(elements) && offsetBytes + sizeBytes <= fileBytes)) {
      fail(`[${dims.join(", ")}] at byte ${offsetBytes} ends beyond the file's ${fileBytes} bytes`);
    }
    return { name, shape: dims, type, offsetBytes, sizeBytes };
  });
  refuseOverlap(path, tensors);
  // The library's type knows each model family; all that is read here goes through a checking reader.
  return { metadata: parsed.metadata as unknown as JsonObject, tensors };
}

/** Small files would otherwise hold any number of large tensors. */
function refuseOverlap(path: string, tensors: readonly GgufTensor[]): void {
  const inOrder = tensors.toSorted((a, b) => a.offsetBytes - b.offsetBytes);
  for (const [i, { name, offsetBytes }] of inOrder.entries()) {
    const before = inOrder[i - 1];
    if (before !== undefined && before.offsetBytes + before.sizeBytes > offsetBytes)
      throw new OarlockError("MODEL_GGUF", `${path}: tensors ${before.name} and ${name} overlap`);
  }
}

const ACCEPTED = Object.keys(STORAGE_TYPES).join(", ");
