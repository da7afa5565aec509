/** Trains one policy: gradients and AdamW as graphs on real buffers, in a thread of its own (P1). */
export { createTrainer } from "./trainer.ts";
export { createScoreModel } from "./score-model.ts";
export type { ScoreCallOptions, ScoreModel, ScoreModelOptions, ScorePlaces } from "./score-model.ts";
export { createCompletionModel } from "./completion-model.ts";
export type { CompletedPrompt, CompletionModel } from "./completion-model.ts";
export { openScoreCore } from "./score-core.ts";
export { LARGE_PARAMETERS } from "./sessions.ts";
export { TrainerCore } from "./core.ts";
export { type LabelledStep, sequenceRow, stepsRow } from "./sequence-row.ts";
export type {
  ForwardOptions,
  LogprobOptions,
  LogprobSource,
  Objective,
  OptimizerSettings,
  PolicySnapshot,
  StepOptions,
  StepResult,
  StepSums,
  Trainer,
  TrainerOptions,
  StateArray,
  StateFacts,
  TrainerState,
  TrainingRow,
  UpdateResult,
} from "./types.ts";
