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
