export type {
  Completion,
  FinishReason,
  GenerationPlan,
  GenerationRequest,
  Generator,
  GeneratorOptions,
  GeneratorStats,
  PolicyVersion,
  SamplingParams,
  WeightLayout,
} from "./types.ts";
export { checkSamplingParams } from "./sampling.ts";
export { createGenerator, generationPlan } from "./generator.ts";
export { cacheBytes } from "./cache.ts";
