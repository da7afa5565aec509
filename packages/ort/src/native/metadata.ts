/** Names, element types and shapes of a session's inputs and outputs, read through the C API. */
import { OarlockError } from "@oarlock/errors";
import { dtypeOfElement } from "../element-types.ts";
import type { OrtValueInfo } from "../types.ts";
import type { NativeEngine } from "./engine.ts";
import { NULL, textAt, type Pointer } from "./pointers.ts";

type Side = "Input" | "Output";

function shapeOf({ api }: NativeEngine, tensorInfo: Pointer): (number | string | null)[] {
  const rank = Number(api.out.GetDimensionsCount(tensorInfo));
  if (rank === 0) return [];
  const dims = new BigInt64Array(rank);
  const symbols = new BigUint64Array(rank);
  api.call.GetDimensions(tensorInfo, dims, rank);
  api.call.GetSymbolicDimensions(tensorInfo, symbols, rank);
  return Array.from(dims, (dim, axis) => (dim >= 0n ? Number(dim) : textAt(symbols[axis] ?? NULL) || null));
}

function readOne(engine: NativeEngine, session: Pointer, side: Side, index: number): OrtValueInfo {
  const { api, allocator } = engine;
  const nameAt = api.out[`SessionGet${side}Name`](session, index, allocator);
  const name = textAt(nameAt);
  api.call.AllocatorFree(allocator, nameAt);
  const typeInfo = api.out[`SessionGet${side}TypeInfo`](session, index);
  try {
    const tensorInfo = api.out.CastTypeInfoToTensorInfo(typeInfo); // owned by typeInfo
    if (tensorInfo === NULL)
      throw new OarlockError("ORT_UNSUPPORTED_TYPE", `${side.toLowerCase()} '${name}' is not a tensor`);
    const element = Number(BigInt.asUintN(32, api.out.GetTensorElementType(tensorInfo)));
    return {
      name,
      dtype: dtypeOfElement(element, `${side.toLowerCase()} '${name}'`),
      shape: shapeOf(engine, tensorInfo),
    };
  } finally {
    api.release.ReleaseTypeInfo(typeInfo);
  }
}

/** All inputs or all outputs, in the graph's order. */
export function readValueInfos(engine: NativeEngine, session: Pointer, side: Side): OrtValueInfo[] {
  const count = Number(engine.api.out[`SessionGet${side}Count`](session));
  return Array.from({ length: count }, (_, index) => readOne(engine, session, side, index));
}
