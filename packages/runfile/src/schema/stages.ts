/** The `stages` list: what is trained, in order. Knows options and bounds; defaults are the plan's. */
import type { z } from "zod";
import type { GrpoSpec, OptimizerSpec, SftSpec, StageSpec } from "../run-file.ts";
import {
  ADVANTAGES,
  AGGREGATIONS,
  KL_ESTIMATORS,
  KL_PLACEMENTS,
  LOSS_MASKS,
  SCHEDULES,
} from "../vocabulary.ts";
import { dataSchema } from "./data.ts";
import { choice, closed, integer, name, namedList, real, union } from "./primitives.ts";
import { rewardsSchema } from "./rewards.ts";

const MAX_STAGES = 16;
const MAX_STEPS = 10_000_000;
const MAX_BATCH = 1_048_576;
const MAX_TOKENS = 1_048_576;

const optimizer: z.ZodType<OptimizerSpec> = closed({
  learningRate: real(0, 10).describe("Peak learning rate of AdamW.").optional(),
  warmupSteps: integer(0, MAX_STEPS).describe("Steps of linear warm-up from 0.").optional(),
  schedule: choice(SCHEDULES).describe("Learning rate after the warm-up.").optional(),
  minLearningRate: real(0, 10).describe("Where linear and cosine schedules end.").optional(),
  weightDecay: real(0, 10).describe("Decoupled weight decay.").optional(),
  beta1: real(0, 0.999999).describe("Decay of the first moment.").optional(),
  beta2: real(0, 0.99999999).describe("Decay of the second moment.").optional(),
  epsilon: real(1e-16, 1).describe("Added to the root of the second moment.").optional(),
  maxGradNorm: real(0, 1e6).describe("Global gradient norm is clipped to this; 0 is off.").optional(),
}).describe("AdamW and its schedule.");

const steps = integer(1, MAX_STEPS).describe("Training steps.");
const microBatchSize = integer(1, MAX_BATCH)
  .describe("Sequences per gradient pass; divides the batch.")
  .optional();

const sft: z.ZodType<SftSpec> = closed({
  data: dataSchema,
  steps,
  batchSize: integer(1, MAX_BATCH).describe("Sequences per step.").optional(),
  microBatchSize,
  maxLength: integer(2, MAX_TOKENS).describe("Tokens per sequence at most.").optional(),
  mask: choice(LOSS_MASKS).describe("Which tokens are trained.").optional(),
  optimizer: optimizer.optional(),
}).describe("Supervised fine-tuning.");

const sampling = closed({
  temperature: real(0, 100).describe("Sampling temperature.").optional(),
  topK: integer(0, 1_000_000).describe("Keep the k likeliest tokens; 0 is off.").optional(),
  topP: real(1e-6, 1).describe("Keep the likeliest tokens of this mass; 1 is off.").optional(),
  maxNewTokens: integer(1, MAX_TOKENS).describe("Tokens per completion at most.").optional(),
}).describe("How completions are drawn.");

const kl = closed({
  placement: choice(KL_PLACEMENTS).describe("Where the KL to the reference goes.").optional(),
  estimator: choice(KL_ESTIMATORS).describe("Per-token estimator.").optional(),
  coefficient: real(0, 100).describe("Weight of the KL term (beta).").optional(),
}).describe("KL to the policy that the stage started from.");

const clip = closed({
  low: real(0, 1).describe("Ratios below 1 − low are clipped.").optional(),
  high: real(0, 100).describe("Ratios above 1 + high are clipped.").optional(),
}).describe("Bounds of the policy ratio.");

const grpo: z.ZodType<GrpoSpec> = closed({
  data: dataSchema,
  steps,
  promptsPerStep: integer(1, MAX_BATCH).describe("Prompts per step.").optional(),
  groupSize: integer(1, 4096).describe("Completions per prompt.").optional(),
  epochs: integer(1, 1000).describe("Optimizer passes over each batch.").optional(),
  microBatchSize,
  maxPromptLength: integer(1, MAX_TOKENS)
    .describe("Tokens per prompt at most; longer prompts are left out.")
    .optional(),
  sampling: sampling.optional(),
  rewards: rewardsSchema,
  advantage: choice(ADVANTAGES).describe("How rewards of a group become advantages.").optional(),
  clip: clip.optional(),
  dualClip: real(0, 100).describe("Bound c of the dual clip for negative advantages; 0 is off.").optional(),
  kl: kl.optional(),
  aggregation: choice(AGGREGATIONS).describe("How token losses become one number.").optional(),
  optimizer: optimizer.optional(),
}).describe("Group relative policy optimisation.");

const stage: z.ZodType<StageSpec> = union(
  closed({
    name: name().describe("Name of the stage, unique in the run."),
    type: choice(["sft", "grpo"]).describe("What the stage does."),
    sft: sft.optional(),
    grpo: grpo.optional(),
  }),
  ["sft", "grpo"],
);

/** Stages run in order; each starts from the final policy of the one before. */
export const stagesSchema: z.ZodType<readonly StageSpec[]> = namedList(stage, 1, MAX_STAGES).describe(
  "Stages in order; each starts from the policy that the one before ended with.",
);
