/**
 * Writes safetensors: the header first, which says where each tensor will lie, then the tensors one by one, so that a
 * large file is never in memory as a whole.
 */
import { OarlockError } from "@oarlock/errors";
import { bytesPerElement, type DType, elementCount, type Tensor } from "@oarlock/tensor";
import { formatName } from "./dtypes.ts";
import { LENGTH_BYTES, MAX_HEADER_BYTES, type TensorEntry } from "./header.ts";

/** A tensor to be written. */
export interface TensorPlan {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

export interface FilePlan {
  /** The file's first bytes, length included. */
  readonly header: Uint8Array;
  /** In the order in which the tensors follow, larger element types first, so that each is aligned. */
  readonly entries: readonly TensorEntry[];
  /** Of the whole file. */
  readonly sizeBytes: number;
}

/** Lays out a file. Throws `SAFETENSORS_WRITE` for a name that is used twice or reserved. */
export function planSafetensors(
  tensors: readonly TensorPlan[],
  metadata: Readonly<Record<string, string>> = {},
): FilePlan {
  const seen = new Set(["__metadata__"]);
  for (const { name } of tensors) {
    if (seen.has(name)) {
      throw new OarlockError(
        "SAFETENSORS_WRITE",
        `the name ${JSON.stringify(name)} is taken; accepted: one of its own`,
      );
    }
    seen.add(name);
  }
  const ordered = tensors.toSorted(
    (left, right) => bytesPerElement(right.dtype) - bytesPerElement(left.dtype),
  );
  let end = 0;
  const placed = ordered.map((plan) => {
    const begin = end;
    end += elementCount(plan.shape) * bytesPerElement(plan.dtype);
    return { ...plan, begin, end };
  });
  const header = headerBytes(placed, metadata);
  return {
    header,
    entries: placed.map(({ name, dtype, shape, begin, end: stop }) => ({
      name,
      dtype,
      shape,
      offsetBytes: header.length + begin,
      sizeBytes: stop - begin,
    })),
    sizeBytes: header.length + end,
  };
}

interface Placed extends TensorPlan {
  readonly begin: number;
  readonly end: number;
}

/** Members are joined by hand: an object would put names like "0" first and lose "__proto__". */
function headerBytes(placed: readonly Placed[], metadata: Readonly<Record<string, string>>): Uint8Array {
  const members = placed.map(({ name, dtype, shape, begin, end }) => {
    const entry = { dtype: formatName(dtype), shape, data_offsets: [begin, end] };
    return `${JSON.stringify(name)}:${JSON.stringify(entry)}`;
  });
  if (Object.keys(metadata).length > 0) members.unshift(`"__metadata__":${JSON.stringify(metadata)}`);
  const json = new TextEncoder().encode(`{${members.join(",")}}`);
  const padded = Math.ceil(json.length / 8) * 8;
  if (padded > MAX_HEADER_BYTES) {
    throw new OarlockError("SAFETENSORS_WRITE", `a header of ${padded} bytes; at most ${MAX_HEADER_BYTES}`);
  }
  const bytes = new Uint8Array(LENGTH_BYTES + padded).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true);
  bytes.set(json, LENGTH_BYTES);
  return bytes;
}

/** A whole file in memory, for small ones. */
export function encodeSafetensors(
  tensors: Readonly<Record<string, Tensor>> | ReadonlyMap<string, Tensor>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const byName = tensors instanceof Map ? tensors : new Map(Object.entries(tensors));
  const plan = planSafetensors(
    [...byName].map(([name, { dtype, shape }]: [string, Tensor]) => ({ name, dtype, shape })),
    metadata,
  );
  const bytes = new Uint8Array(plan.sizeBytes);
  bytes.set(plan.header);
  for (const { name, offsetBytes } of plan.entries) {
    const data = byName.get(name)?.data;
    if (data !== undefined)
      bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), offsetBytes);
  }
  return bytes;
}
