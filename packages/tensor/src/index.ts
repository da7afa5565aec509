export { DTYPES, bytesPerElement, createTypedArray, holds, isFloating } from "./dtype.ts";
export type { ArrayOf, DType, TypedArray } from "./dtype.ts";
export { elementCount, scalar, tensor } from "./tensor.ts";
export type { Tensor } from "./tensor.ts";
export {
  bfloat16ToFloat32,
  float16ToFloat32,
  float32ToBfloat16,
  float32ToFloat16,
  toFloat32Array,
} from "./half.ts";
