/** A dense row-major tensor: an element type, a shape, and the array that holds it. No arithmetic here. */
import { OarlockError } from "@oarlock/errors";
import { type ArrayOf, createTypedArray, type DType, holds } from "./dtype.ts";

/** Numbers with a shape, dense and row-major. */
export interface Tensor<D extends DType = DType> {
  readonly dtype: D;
  /** Dimensions, outermost first; empty for a scalar. */
  readonly shape: readonly number[];
  /** `elementCount(shape)` elements, row-major. */
  readonly data: ArrayOf[D];
}

/** The product of the dimensions. Throws `TENSOR_SHAPE` where one is not a non-negative integer or the product is unsafe. */
export function elementCount(shape: readonly number[]): number {
  let count = 1;
  for (const dim of shape) {
    if (!Number.isSafeInteger(dim) || dim < 0) {
      throw new OarlockError("TENSOR_SHAPE", `shape [${shape.join(", ")}] holds ${dim}, which is no size`);
    }
    count *= dim;
  }
  if (!Number.isSafeInteger(count))
    throw new OarlockError("TENSOR_SHAPE", `shape [${shape.join(", ")}] is too large`);
  return count;
}

/** Checks that array, type and shape fit each other. Throws `TENSOR_DTYPE` or `TENSOR_SHAPE`. */
export function tensor<D extends DType>(dtype: D, shape: readonly number[], data?: ArrayOf[D]): Tensor<D> {
  const count = elementCount(shape);
  const held = data ?? createTypedArray(dtype, count);
  if (!holds(held, dtype))
    throw new OarlockError("TENSOR_DTYPE", `${held.constructor.name} does not hold ${dtype}`);
  if (held.length !== count) {
    throw new OarlockError(
      "TENSOR_SHAPE",
      `shape [${shape.join(", ")}] needs ${count} elements, got ${held.length}`,
    );
  }
  return { dtype, shape, data: held };
}

/** A tensor without dimensions. */
export function scalar(value: number): Tensor<"float32"> {
  return tensor("float32", [], Float32Array.of(value));
}
