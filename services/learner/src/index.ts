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
  PromptRow,
  RunData,
  RunJournal,
} from "./ports.ts";
export { evaluationMetrics } from "./evaluation.ts";
export type { EvaluatedPrompt } from "./evaluation.ts";
export type { StallLimits } from "./rollouts.ts";
export { BUS_INSTRUMENTS } from "./bus-metrics.ts";
export { LEARNER_INSTRUMENTS } from "./instruments.ts";
export { KEPT_FILE } from "./kept-stages.ts";
export type { KeptFile } from "./kept-stages.ts";
export { openLearner } from "./open.ts";
export type { OpenLearnerParts } from "./open.ts";
export type { LearnerLine } from "./process.ts";
