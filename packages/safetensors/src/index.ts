/** The safetensors format: checked headers, whole tensors or rows of them, files of any size. Knows no disk. */
export { bytesSource, openSafetensors } from "./read.ts";
export type { ByteSource, RowRange, SafetensorsReader } from "./read.ts";
export type { TensorEntry } from "./header.ts";
export { encodeSafetensors, planSafetensors } from "./write.ts";
export type { FilePlan, TensorPlan } from "./write.ts";
