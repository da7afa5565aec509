/** Tensors of the native driver: an OrtValue over the caller's own memory, or over memory of the device. */
import { OarlockError } from "@oarlock/errors";
import { createTypedArray, bytesPerElement, type DType, type TypedArray } from "@oarlock/tensor";
import { byteLengthOf, checkData, viewLength } from "../check.ts";
import { elementTypes } from "../element-types.ts";
import type { OrtTensor } from "../types.ts";
import type { NativeEngine } from "./engine.ts";
import { createHandle, type Handle } from "./handles.ts";
import { addressOf, NULL, type Pointer } from "./pointers.ts";

/** An `OrtTensor` of this driver, with its native value. */
export interface NativeTensor extends OrtTensor {
  readonly value: Handle;
}

const dims = (shape: readonly number[]): BigInt64Array =>
  shape.length === 0 ? new BigInt64Array(1) : BigInt64Array.from(shape, BigInt);

/** Memory of zero bytes has no address; native code gets that of one spare element and never reads it. */
const nonEmpty = (dtype: DType, data: TypedArray): TypedArray =>
  data.byteLength > 0 ? data : createTypedArray(dtype, 1);

type TensorType = Pick<NativeTensor, "dtype" | "shape" | "byteLength">;

/** A value of ONNX Runtime over memory that is somebody else's. `memory`: what kind it is of. */
function valueOver(
  { api }: NativeEngine,
  memory: Pointer,
  address: Pointer,
  { dtype, shape, byteLength }: TensorType,
): Pointer {
  const size = [dims(shape), shape.length] as const;
  return api.out.CreateTensorWithDataAsOrtValue(memory, address, byteLength, ...size, elementTypes[dtype]);
}

export function createHostTensor(
  engine: NativeEngine,
  dtype: DType,
  shape: readonly number[],
  data?: TypedArray,
): NativeTensor {
  const byteLength = byteLengthOf(dtype, shape);
  const array = data ?? createTypedArray(dtype, byteLength / bytesPerElement(dtype));
  checkData(dtype, shape, array);
  const memory = nonEmpty(dtype, array);
  const pointer = valueOver(engine, engine.hostMemory, addressOf(memory), { dtype, shape, byteLength });
  const value = createHandle("tensor", pointer, engine.api.release.ReleaseValue, memory);
  return {
    dtype,
    shape: [...shape],
    byteLength,
    location: "host",
    data: array,
    value,
    get disposed() {
      return value.released;
    },
    dispose: () => value.release(),
  };
}

export function createDeviceTensor(
  engine: NativeEngine,
  allocator: Pointer,
  dtype: DType,
  shape: readonly number[],
): NativeTensor {
  const byteLength = byteLengthOf(dtype, shape);
  const pointer = engine.api.out.CreateTensorAsOrtValue(
    allocator,
    dims(shape),
    shape.length,
    elementTypes[dtype],
  );
  return deviceTensorOf(
    { dtype, shape, byteLength },
    createHandle("device tensor", pointer, engine.api.release.ReleaseValue),
  );
}

function deviceTensorOf({ dtype, shape, byteLength }: TensorType, value: Handle): NativeTensor {
  return {
    dtype,
    shape: [...shape],
    byteLength,
    location: "device",
    get data(): TypedArray {
      throw new OarlockError(
        "ORT_DEVICE_TENSOR",
        "a device tensor has no host memory; copy it to a host tensor first",
      );
    },
    value,
    get disposed() {
      return value.released;
    },
    dispose: () => value.release(),
  };
}

/** Part of another tensor's memory. `deviceMemory`: memory info of the parent, where that is on a device with plain addresses. */
export function createViewTensor(
  engine: NativeEngine,
  parent: NativeTensor,
  { start, shape, deviceMemory }: { start: number; shape: readonly number[]; deviceMemory: Pointer },
): NativeTensor {
  const { dtype } = parent;
  const length = viewLength(parent, start, shape);
  if (parent.location === "host")
    return createHostTensor(engine, dtype, shape, parent.data.subarray(start, start + length));
  if (deviceMemory === NULL)
    throw new OarlockError("ORT_UNSUPPORTED", `tensors of provider '${engine.provider}' have no views`);
  const byteLength = length * bytesPerElement(dtype);
  const letGo = parent.value.hold();
  const begin = engine.api.out.GetTensorMutableData(parent.value.pointer);
  const type = { dtype, shape, byteLength };
  const pointer = valueOver(engine, deviceMemory, begin + BigInt(start * bytesPerElement(dtype)), type);
  return deviceTensorOf(
    type,
    createHandle("device view", pointer, (value) => {
      engine.api.release.ReleaseValue(value);
      letGo();
    }),
  );
}

/** The native tensor behind `tensor`; an error for one of another driver. */
export function nativeTensor(tensor: OrtTensor, name: string): NativeTensor {
  if ("value" in tensor) return tensor as NativeTensor; // only this driver's tensors have a `value`
  throw new OarlockError("ORT_FOREIGN_TENSOR", `tensor '${name}' belongs to another driver`);
}
