/** Element types, and the typed array that holds each. Half precisions are kept as their bit patterns. */

/** The typed array that holds elements of each type. */
export interface ArrayOf {
  float32: Float32Array;
  float64: Float64Array;
  /** IEEE 754 binary16 bit patterns. */
  float16: Uint16Array;
  /** The upper half of a float32, as bit patterns. */
  bfloat16: Uint16Array;
  int64: BigInt64Array;
  int32: Int32Array;
  int8: Int8Array;
  uint8: Uint8Array;
  /** One byte an element, 0 or 1. */
  bool: Uint8Array;
}

export type DType = keyof ArrayOf;
export type TypedArray = ArrayOf[DType];

const constructors: {
  readonly [D in DType]: new (buffer: ArrayBufferLike, offset: number, length: number) => ArrayOf[D];
} = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int64: BigInt64Array,
  int32: Int32Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
};

const bytes: { readonly [D in DType]: number } = {
  float32: 4,
  float64: 8,
  float16: 2,
  bfloat16: 2,
  int64: 8,
  int32: 4,
  int8: 1,
  uint8: 1,
  bool: 1,
};

/** Every element type, in the order of the table above. */
export const DTYPES: readonly DType[] = [
  "float32",
  "float64",
  "float16",
  "bfloat16",
  "int64",
  "int32",
  "int8",
  "uint8",
  "bool",
];

/** Bytes that one element takes in memory and in files. */
export function bytesPerElement(dtype: DType): number {
  return bytes[dtype];
}

/** Whether elements are real numbers, of whatever precision: what gradients exist for. */
export function isFloating(dtype: DType): boolean {
  return dtype === "float32" || dtype === "float64" || dtype === "float16" || dtype === "bfloat16";
}

/** A zeroed array for `length` elements, or a view of `buffer` from `offsetBytes` on. */
export function createTypedArray<D extends DType>(
  dtype: D,
  length: number,
  buffer: ArrayBufferLike = new ArrayBuffer(length * bytes[dtype]),
  offsetBytes = 0,
): ArrayOf[D] {
  return new constructors[dtype](buffer, offsetBytes, length);
}

/** Whether `data` is the kind of array that holds `dtype`. */
export function holds(data: TypedArray, dtype: DType): boolean {
  return data instanceof constructors[dtype];
}
