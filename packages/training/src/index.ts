/** Trains one policy: gradients and AdamW as graphs on real buffers, in a thread of its own (P1). */
export type {
  Aggregation,
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
  TrainerState,
  TrainingRow,
  UpdateResult,
} from "./types.ts";
