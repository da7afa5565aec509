/**
 * Reverse-mode differentiation of ONNX graphs: `const [dw] = gradients(loss, [w])` adds the backward pass to the graph
 * that `loss` belongs to.
 */
export { gradients } from "./gradients.ts";
export { defineGradient } from "./custom.ts";
export type { CustomGradient } from "./custom.ts";
export { centralDifferences, relativeGap } from "./central-differences.ts";
export type { DifferenceOptions } from "./central-differences.ts";
