/** Casts between float32 and the two half precisions, on whole arrays. Round to nearest, ties to even, NaN stays NaN. */
import { OarlockError } from "@oarlock/errors";
import type { Tensor } from "./tensor.ts";

const word = new Uint32Array(1);
const real = new Float32Array(word.buffer);

const bitsOf = (value: number): number => {
  real[0] = value;
  return word[0] ?? 0;
};
const valueOf = (bits: number): number => {
  word[0] = bits;
  return real[0] ?? 0;
};

/** Bit patterns of bfloat16 as float32, exactly. */
export function bfloat16ToFloat32(source: Uint16Array): Float32Array {
  const target = new Float32Array(source.length);
  const bits = new Uint32Array(target.buffer);
  for (let i = 0; i < source.length; i++) bits[i] = (source[i] ?? 0) << 16;
  return target;
}

/** The nearest bfloat16 of each value, ties to even, as bit patterns; NaN stays NaN. */
export function float32ToBfloat16(source: Float32Array): Uint16Array {
  const target = new Uint16Array(source.length);
  for (let i = 0; i < source.length; i++) {
    const value = source[i] ?? 0;
    const bits = bitsOf(value);
    const rounded = bits + 0x7fff + ((bits >>> 16) & 1);
    target[i] = Number.isNaN(value) ? (bits >>> 16) | 0x40 : rounded >>> 16;
  }
  return target;
}

/** Bit patterns of IEEE binary16 as float32, exactly, subnormals too. */
export function float16ToFloat32(source: Uint16Array): Float32Array {
  const target = new Float32Array(source.length);
  for (let i = 0; i < source.length; i++) {
    const half = source[i] ?? 0;
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >>> 10) & 0x1f;
    const fraction = half & 0x3ff;
    target[i] = sign * halfMagnitude(exponent, fraction);
  }
  return target;
}

function halfMagnitude(exponent: number, fraction: number): number {
  if (exponent === 0) return fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? Number.POSITIVE_INFINITY : Number.NaN;
  return (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The nearest IEEE binary16 of each value, ties to even, as bit patterns; beyond its range ±∞. */
export function float32ToFloat16(source: Float32Array): Uint16Array {
  const target = new Uint16Array(source.length);
  for (let i = 0; i < source.length; i++) target[i] = toHalfBits(bitsOf(source[i] ?? 0));
  return target;
}

function toHalfBits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00; // NaN
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // rounds to infinity
  if (magnitude < 0x38800000) {
    // Subnormal: adding 0.5 aligns the fraction so that float32's own rounding rounds to a multiple of 2^-24.
    return sign | (bitsOf(valueOf(magnitude) + 0.5) - 0x3f000000);
  }
  const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
  return sign | ((rounded - 0x38000000) >>> 13);
}

/** The elements as float32: itself where it is float32, a cast copy where it is another floating type. */
export function toFloat32Array(source: Tensor): Float32Array {
  switch (source.dtype) {
    case "float32":
      return source.data as Float32Array; // the dtype says so; TypeScript cannot narrow a mapped type by its key
    case "float16":
      return float16ToFloat32(source.data as Uint16Array);
    case "bfloat16":
      return bfloat16ToFloat32(source.data as Uint16Array);
    case "float64":
      return Float32Array.from(source.data as Float64Array);
    case "int64":
    case "int32":
    case "int8":
    case "uint8":
    case "bool":
      throw new OarlockError("TENSOR_DTYPE", `${source.dtype} is not a floating type`);
  }
}
