/** Element types as ONNX numbers them (TensorProto.DataType) and as onnxruntime-node names them. */
import { OarlockError } from "@oarlock/errors";
import { DTYPES, type DType } from "@oarlock/tensor";

/** ONNXTensorElementDataType of the C API. */
export const elementTypes: { readonly [D in DType]: number } = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
  bfloat16: 16,
};

export function dtypeOfElement(element: number, where: string): DType {
  const found = DTYPES.find((dtype) => elementTypes[dtype] === element);
  if (found === undefined) {
    throw new OarlockError(
      "ORT_UNSUPPORTED_DTYPE",
      `${where}: ONNX element type ${element} is not one of ${DTYPES.join(", ")}`,
    );
  }
  return found;
}
