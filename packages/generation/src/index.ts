export type {
  Completion,
  CompletionTiming,
  FinishReason,
  GenerationPlan,
  GenerationRequest,
  Generator,
  GeneratorOptions,
  GeneratorStats,
  PolicyVersion,
  ProgressListener,
  SamplingParams,
  TokenProgress,
  WeightLayout,
} from "./types.ts";
export { checkSamplingParams } from "./sampling.ts";
export { createGenerator, generationPlan } from "./generator.ts";
export { cacheBytes } from "./cache.ts";
