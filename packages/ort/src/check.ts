/**
 * The checks that stand between a caller's mistake and native code: names, element types, shapes, byte lengths.
 * Pure; both drivers use them, so that both refuse the same things with the same words (X1).
 */
import { OarlockError } from "@oarlock/errors";
import { bytesPerElement, holds, type DType, type TypedArray } from "@oarlock/tensor";
import type { OrtTensor, OrtValueInfo } from "./types.ts";

type Tensors = Readonly<Record<string, OrtTensor>>;

const text = (shape: readonly (number | string | null)[]): string =>
  `[${shape.map((dim) => dim ?? "?").join(", ")}]`;

/** Bytes of a tensor; refuses dims that are not whole numbers ≥ 0 and sizes that no buffer can have. */
export function byteLengthOf(dtype: DType, shape: readonly number[]): number {
  let count = 1;
  for (const dim of shape) {
    if (!Number.isInteger(dim) || dim < 0)
      throw new OarlockError("ORT_INVALID_SHAPE", `shape ${text(shape)}: every dim is a whole number ≥ 0`);
    count *= dim;
  }
  const bytes = count * bytesPerElement(dtype);
  if (!Number.isSafeInteger(bytes))
    throw new OarlockError("ORT_INVALID_SHAPE", `shape ${text(shape)} of ${dtype} is larger than any memory`);
  return bytes;
}

/** Elements of a view of `shape` from element `start` of `tensor` on; refuses one that leaves it. */
export function viewLength(tensor: OrtTensor, start: number, shape: readonly number[]): number {
  checkAlive(tensor, "view");
  const size = bytesPerElement(tensor.dtype);
  const byteLength = byteLengthOf(tensor.dtype, shape);
  if (Number.isSafeInteger(start) && start >= 0 && start * size + byteLength <= tensor.byteLength)
    return byteLength / size;
  throw new OarlockError(
    "ORT_INVALID_SHAPE",
    `a view of ${text(shape)} from element ${start} on leaves a tensor of ${tensor.byteLength / size} elements`,
  );
}

/** Pairs of tensors to copy, of equal types and sizes, all alive. */
export function copyPairs(
  sources: readonly OrtTensor[],
  targets: readonly OrtTensor[],
): readonly (readonly [OrtTensor, OrtTensor])[] {
  if (sources.length !== targets.length) {
    throw new OarlockError(
      "ORT_SHAPE_MISMATCH",
      `copy: ${sources.length} sources, ${targets.length} targets`,
    );
  }
  return sources.map((source, i) => {
    const target = targets[i];
    if (target === undefined || target.dtype !== source.dtype || target.byteLength !== source.byteLength)
      throw new OarlockError("ORT_SHAPE_MISMATCH", `copy: source ${i} and its target differ in type or size`);
    checkAlive(source, `source ${i}`);
    checkAlive(target, `target ${i}`);
    return [source, target] as const;
  });
}

/** Copies from host memory to host memory. */
export function copyOnHost(source: OrtTensor, target: OrtTensor): void {
  bytesOf(target.data).set(bytesOf(source.data));
}

/** The memory of an array, as bytes. */
export const bytesOf = ({ buffer, byteOffset, byteLength }: TypedArray): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** That `data` is the right kind of array and exactly as long as the shape says. */
export function checkData(dtype: DType, shape: readonly number[], data: TypedArray): void {
  const expected = byteLengthOf(dtype, shape);
  if (!holds(data, dtype)) {
    throw new OarlockError(
      "ORT_DTYPE_MISMATCH",
      `a ${dtype} tensor cannot lie over a ${data.constructor.name}`,
    );
  }
  if (data.byteLength !== expected) {
    throw new OarlockError(
      "ORT_BYTE_LENGTH_MISMATCH",
      `shape ${text(shape)} of ${dtype} needs ${expected} bytes, the array has ${data.byteLength}`,
    );
  }
}

/** That a tensor can be used now: not disposed, its buffer not transferred to another thread. */
export function checkAlive(tensor: OrtTensor, name: string): void {
  if (tensor.disposed) throw new OarlockError("ORT_RELEASED", `tensor '${name}' was released`);
  if (tensor.location === "host" && tensor.data.byteLength !== tensor.byteLength) {
    throw new OarlockError(
      "ORT_DETACHED_BUFFER",
      `the buffer of tensor '${name}' was transferred or resized; its memory is gone`,
    );
  }
}

function checkOne(kind: string, info: OrtValueInfo, tensor: OrtTensor, symbols: Map<string, number>): void {
  const where = `${kind} '${info.name}'`;
  checkAlive(tensor, info.name);
  if (tensor.dtype !== info.dtype) {
    throw new OarlockError(
      "ORT_DTYPE_MISMATCH",
      `${where}: the graph wants ${info.dtype}, the tensor is ${tensor.dtype}`,
    );
  }
  const wrong = (): OarlockError =>
    new OarlockError(
      "ORT_SHAPE_MISMATCH",
      `${where}: the graph wants ${text(info.shape)}, the tensor is ${text(tensor.shape)}`,
    );
  if (tensor.shape.length !== info.shape.length) throw wrong();
  for (const [axis, dim] of info.shape.entries()) {
    const size = tensor.shape[axis] ?? 0;
    if (typeof dim === "number" && dim !== size) throw wrong();
    if (typeof dim !== "string") continue;
    const bound = symbols.get(dim) ?? size;
    if (bound !== size) {
      throw new OarlockError(
        "ORT_SHAPE_MISMATCH",
        `${where}: '${dim}' is ${bound} elsewhere in this call, the tensor is ${text(tensor.shape)}`,
      );
    }
    symbols.set(dim, size);
  }
}

function checkNames(kind: string, infos: readonly OrtValueInfo[], given: Tensors, required: boolean): void {
  const known = new Set(infos.map((info) => info.name));
  for (const name of Object.keys(given)) {
    if (!known.has(name)) {
      throw new OarlockError(
        "ORT_UNKNOWN_NAME",
        `the graph has no ${kind} '${name}'; it has ${[...known].join(", ") || "none"}`,
      );
    }
  }
  if (!required) return;
  for (const name of known) {
    if (given[name] === undefined) throw new OarlockError("ORT_MISSING_NAME", `${kind} '${name}' is missing`);
  }
}

/** Checks one call: every input present, no unknown name, types and shapes as the graph says, symbols consistent. */
export function checkBinding(
  session: { readonly inputs: readonly OrtValueInfo[]; readonly outputs: readonly OrtValueInfo[] },
  inputs: Tensors,
  outputs: Tensors,
): void {
  checkNames("input", session.inputs, inputs, true);
  checkNames("output", session.outputs, outputs, false);
  if (Object.keys(outputs).length === 0)
    throw new OarlockError("ORT_MISSING_NAME", "a call needs at least one output");
  const symbols = new Map<string, number>();
  const check = (kind: string, infos: readonly OrtValueInfo[], given: Tensors): void => {
    for (const info of infos) {
      const tensor = given[info.name];
      if (tensor !== undefined) checkOne(kind, info, tensor, symbols);
    }
  };
  check("input", session.inputs, inputs);
  check("output", session.outputs, outputs);
}
