/**
 * The compute engine behind one interface: ONNX Runtime through its C API (`native`) or through onnxruntime-node
 * (`binding`).
 */
export { type Device, type ProbedDevice, cpuName, probeDevice } from "./device.ts";
export { type LackingOperator, lackingOperators } from "./lacking.ts";
export { openOrt } from "./open.ts";
export type {
  EngineFingerprint,
  OpenOrtOptions,
  OrtBinding,
  OrtDriver,
  OrtOptimization,
  OrtProvider,
  OrtRuntime,
  OrtSession,
  OrtTensor,
  OrtValueInfo,
  SessionOptions,
} from "./types.ts";
export { instructionSet } from "./fingerprint.ts";
