/**
 * Reads tensors out of a safetensors file, whole or row by row, from anything that gives ranges of bytes. Files larger
 * than memory, or than one array can be, are no special case.
 */
import { OarlockError } from "@oarlock/errors";
import { bytesPerElement, createTypedArray, elementCount, type Tensor, tensor } from "@oarlock/tensor";
import { type Header, headerLength, LENGTH_BYTES, parseHeader, type TensorEntry } from "./header.ts";

/** Bytes at rest: a file, an array, a range of a download. */
export interface ByteSource {
  readonly sizeBytes: number;
  /** Fills `target` with the bytes from `offsetBytes` on. Throws where there are fewer. */
  read(target: Uint8Array, offsetBytes: number, signal?: AbortSignal): Promise<void>;
}

export interface SafetensorsReader {
  readonly metadata: Header["metadata"];
  /** By name, in the order of the file. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /** Throws `SAFETENSORS_NO_TENSOR`. */
  read(name: string, signal?: AbortSignal): Promise<Tensor>;
  /** Rows [start, end) of the first dimension; no other byte is read. Throws also `SAFETENSORS_RANGE`. */
  slice(name: string, range: RowRange, signal?: AbortSignal): Promise<Tensor>;
}

/** Rows of the first dimension. */
export interface RowRange {
  readonly start: number;
  /** The first row that is not wanted. */
  readonly end: number;
}

/** Reads and checks the header. Throws `SAFETENSORS_INVALID` with the reason. */
export async function openSafetensors(source: ByteSource, signal?: AbortSignal): Promise<SafetensorsReader> {
  const start = new Uint8Array(Math.min(LENGTH_BYTES, source.sizeBytes));
  await source.read(start, 0, signal);
  const json = new Uint8Array(headerLength(start, source.sizeBytes));
  await source.read(json, LENGTH_BYTES, signal);
  const header = parseHeader(json, source.sizeBytes);
  const tensors = new Map(header.entries.map((entry) => [entry.name, entry]));

  const entryOf = (name: string): TensorEntry => {
    const entry = tensors.get(name);
    if (entry !== undefined) return entry;
    throw new OarlockError("SAFETENSORS_NO_TENSOR", `the file has no tensor ${JSON.stringify(name)}`);
  };
  const load = async (entry: TensorEntry, shape: readonly number[], skipBytes: number): Promise<Tensor> => {
    const count = elementCount(shape);
    const data = createTypedArray(entry.dtype, count);
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    await source.read(bytes, entry.offsetBytes + skipBytes, signal);
    return tensor(entry.dtype, shape, data);
  };
  return {
    metadata: header.metadata,
    tensors,
    read(name) {
      const entry = entryOf(name);
      return load(entry, entry.shape, 0);
    },
    slice(name, { start: from, end }) {
      const entry = entryOf(name);
      const [rows = 0, ...rest] = entry.shape;
      if (
        !(Number.isSafeInteger(from) && Number.isSafeInteger(end) && 0 <= from && from <= end && end <= rows)
      ) {
        throw new OarlockError(
          "SAFETENSORS_RANGE",
          `rows ${from} to ${end} of tensor ${JSON.stringify(name)}, which has ${rows}`,
        );
      }
      const rowBytes = elementCount(rest) * bytesPerElement(entry.dtype);
      return load(entry, [end - from, ...rest], from * rowBytes);
    },
  };
}

/** The bytes of an array. */
export function bytesSource(bytes: Uint8Array): ByteSource {
  return {
    sizeBytes: bytes.length,
    read(target, offsetBytes) {
      if (offsetBytes < 0 || offsetBytes + target.length > bytes.length) {
        return Promise.reject(
          new OarlockError(
            "SAFETENSORS_INVALID",
            `the file ends at byte ${bytes.length}, ${offsetBytes + target.length} was asked for`,
          ),
        );
      }
      target.set(bytes.subarray(offsetBytes, offsetBytes + target.length));
      return Promise.resolve();
    },
  };
}
