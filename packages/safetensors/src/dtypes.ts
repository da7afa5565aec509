/** The format's names of element types and ours. */
import type { DType } from "@oarlock/tensor";

const names: { readonly [D in DType]: string } = {
  float64: "F64",
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
  int64: "I64",
  int32: "I32",
  int8: "I8",
  uint8: "U8",
  bool: "BOOL",
};

const dtypes = new Map<string, DType>(
  // Object.entries forgets which keys there are; `names` has exactly those of DType.
  Object.entries(names).map(([dtype, name]) => [name, dtype as DType]),
);

/** As it is written in a header, e.g. "BF16". */
export function formatName(dtype: DType): string {
  return names[dtype];
}

/** `undefined` for a type that Oarlock has no array for (F8_E4M3, U16, …). */
export function dtypeOf(name: string): DType | undefined {
  return dtypes.get(name);
}

/** Every name that is accepted. */
export const FORMAT_NAMES: readonly string[] = [...dtypes.keys()];
