/**
 * Operators that a provider has not, or has wrongly: graphs for it compose them of others. Each was found by running the tests of
 * the compute core on the provider (`OARLOCK_TEST_PROVIDER`), ONNX Runtime 1.30.
 */
import type { OrtProvider } from "./types.ts";

export type LackingOperator = "FusedMatMul" | "GroupQueryAttention" | "SimplifiedLayerNormalization";

const LACKING: { readonly [P in OrtProvider]: readonly LackingOperator[] } = {
  cpu: [],
  // In 16 bits only: in float32 it would run on the CPU.
  cuda: ["GroupQueryAttention"],
  // Its second result, 1/rms, is never written: every gradient through it would be wrong. Products with flags run on the CPU.
  webgpu: ["SimplifiedLayerNormalization", "FusedMatMul"],
};

/** What graphs for this provider do without. */
export function lackingOperators(provider: OrtProvider): readonly LackingOperator[] {
  return LACKING[provider];
}
