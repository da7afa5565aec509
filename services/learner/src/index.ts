export { startLearner } from "./main.ts";
export type { LearnerServiceParts, RunningLearner } from "./main.ts";
export { readLearnerConfig } from "./config.ts";
export type { LearnerConfig } from "./config.ts";
export type { Learner, LearnerOutcome } from "./learner.ts";
export type {
  EvaluationRecord,
  LearnerEvent,
  ModelPorts,
  PreferencePair,
  Preferences,
  PromptRow,
  RunData,
  RunJournal,
} from "./ports.ts";
export { evaluationMetrics } from "./evaluation.ts";
export type { EvaluatedPrompt } from "./evaluation.ts";
export type { StallLimits } from "./rollouts.ts";
export { createModelPorts } from "./model-ports.ts";
export type { ModelPortsOptions } from "./model-ports.ts";
