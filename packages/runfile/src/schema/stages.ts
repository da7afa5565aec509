/** The `stages` list: what is trained, in order. Knows options and bounds; defaults are the plan's. */
import * as z from "zod";
import type {
  GrpoSpec,
  GuardSpec,
  OptimizerSpec,
  PpoSpec,
  RewardModelSpec,
  SftSpec,
  StageSpec,
  UntilSpec,
} from "../run-file.ts";
import {
  ADVANTAGES,
  AGGREGATIONS,
  COMPUTED_BY,
  CRITIC_TYPES,
  GUARD_REACTIONS,
  GUARD_TYPES,
  KL_CONTROLLERS,
  KL_ESTIMATORS,
  KL_PLACEMENTS,
  LOSS_MASKS,
  REWARD_LOSSES,
  SCHEDULES,
  STAGE_TYPES,
  UNTIL_SCORES,
} from "../vocabulary.ts";
import { dataSchema } from "./data.ts";
import {
  choice,
  closed,
  integer,
  name,
  namedList,
  real,
  ruled,
  startReference,
  text,
  union,
} from "./primitives.ts";
import { rewardsSchema } from "./rewards.ts";

const MAX_STAGES = 16;
const MAX_GUARDS = 8;
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

const start = closed({
  from: startReference().describe("model, or stage/<name> (default: the policy so far).").optional(),
})
  .describe("Whose weights the stage starts from.")
  .optional();

const until: z.ZodType<UntilSpec> = closed({
  score: choice(UNTIL_SCORES).describe("Which score of the evaluation's metric.").optional(),
  atLeast: real(-1e6, 1e6).describe("From which the stage ends."),
}).describe("The stage ends with the first evaluation between two steps that gives so much.");

const sft: z.ZodType<SftSpec> = closed({
  model: start,
  data: dataSchema,
  steps,
  until: until.optional(),
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

const klFields = {
  placement: choice(KL_PLACEMENTS).describe("Where the KL to the reference goes.").optional(),
  estimator: choice(KL_ESTIMATORS).describe("Per-token estimator.").optional(),
  coefficient: real(0, 100).describe("Weight of the KL term (beta).").optional(),
};

const kl = closed(klFields).describe("KL to the policy that the stage started from.");

const clip = closed({
  low: real(0, 1).describe("Ratios below 1 − low are clipped.").optional(),
  high: real(0, 100).describe("Ratios above 1 + high are clipped.").optional(),
}).describe("Bounds of the policy ratio.");

const guard: z.ZodType<GuardSpec> = closed({
  name: name().describe("Name in metrics."),
  watch: choice(GUARD_TYPES).describe("What is watched."),
  reaction: choice(GUARD_REACTIONS).describe("What an alarm does."),
  limit: real(0, 1e6).describe("When it fires; what it means depends on what is watched.").optional(),
  window: integer(1, 1000).describe("Steps whose mean is looked at.").optional(),
  gold: name().describe("The held-out scorer of reward-hacking (default: the only one).").optional(),
  factor: real(1, 100).describe("What raise-beta multiplies the KL coefficient by.").optional(),
});

const rollouts = {
  model: start,
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
  clip: clip.optional(),
  dualClip: real(0, 100).describe("Bound c of the dual clip for negative advantages; 0 is off.").optional(),
  entropyCoefficient: real(0, 100).describe("Weight of the entropy bonus.").optional(),
  aggregation: choice(AGGREGATIONS).describe("How token losses become one number.").optional(),
  reference: closed({
    computedBy: choice(COMPUTED_BY).describe("Who computes its log-probs of the samples.").optional(),
  })
    .describe("The policy that the KL is to.")
    .optional(),
  guards: namedList(guard, 0, MAX_GUARDS).describe("Alarms and what they do.").optional(),
  until: until.optional(),
  optimizer: optimizer.optional(),
};

const grpo: z.ZodType<GrpoSpec> = closed({
  ...rollouts,
  advantage: choice(ADVANTAGES).describe("How rewards of a group become advantages.").optional(),
  kl: kl.optional(),
}).describe("Group relative policy optimisation.");

const critic = closed({
  network: choice(CRITIC_TYPES).describe("A network of its own, or a head on the policy's trunk.").optional(),
  coefficient: real(0, 1000).describe("Weight of the value loss, on one trunk.").optional(),
  from: startReference()
    .describe("model, or stage/<name> (default: the last reward model, else the policy).")
    .optional(),
  clip: real(0, 100).describe("Values move at most so far in a step; 0 is off.").optional(),
  warmupSteps: integer(0, MAX_STEPS).describe("Steps that train the critic alone.").optional(),
  computedBy: choice(COMPUTED_BY).describe("Who computes the values of the samples.").optional(),
  optimizer: optimizer.optional(),
}).describe("The network that estimates what is to come.");

const ppo: z.ZodType<PpoSpec> = closed({
  ...rollouts,
  miniBatches: integer(1, MAX_BATCH).describe("Updates per pass; divides the batch.").optional(),
  gamma: real(0, 1).describe("Discount per token.").optional(),
  lambda: real(0, 1).describe("Lambda of generalised advantage estimation.").optional(),
  rewardClip: real(0, 1e6).describe("Scores are cut to plus or minus this; 0 is off.").optional(),
  whitenRewards: z.boolean().describe("Scale the rewards of a batch to variance 1.").optional(),
  whitenAdvantages: z.boolean().describe("Scale the advantages of a batch.").optional(),
  maxKl: real(0, 100).describe("No update beyond this KL from the step's start; 0 is off.").optional(),
  kl: closed({
    ...klFields,
    controller: choice(KL_CONTROLLERS).describe("How the coefficient moves.").optional(),
    target: real(0, 1e6).describe("KL per completion that adaptive steers to.").optional(),
    horizon: real(1, 1e12).describe("Samples of the adaptive controller's horizon.").optional(),
  })
    .describe("KL to the policy that the stage started from.")
    .optional(),
  critic: critic.optional(),
  ptx: closed({
    data: dataSchema,
    coefficient: real(0, 1000).describe("Weight of their mean negative log-likelihood."),
    batchSize: integer(1, MAX_BATCH).describe("Sequences in every update.").optional(),
    maxLength: integer(2, MAX_TOKENS).describe("Tokens per sequence at most.").optional(),
    mask: choice(LOSS_MASKS).describe("Which tokens are trained.").optional(),
  })
    .describe("Supervised rows mixed into every update (PPO-ptx).")
    .optional(),
}).describe("Proximal policy optimisation with a critic.");

const rewardModelFields = closed({
  model: start,
  data: dataSchema,
  steps,
  batchSize: integer(1, MAX_BATCH).describe("Pairs per step.").optional(),
  microBatchSize: integer(1, MAX_BATCH).describe("Pairs per gradient pass; divides the batch.").optional(),
  maxLength: integer(2, MAX_TOKENS).describe("Tokens of prompt and answer at most.").optional(),
  loss: choice(REWARD_LOSSES).describe("Over pairs, rankings, or labelled steps.").optional(),
  answers: integer(2, 16).describe("Answers of each ranking; rows with others are left out.").optional(),
  stepEnd: text(64).describe("What ends a labelled step (default a newline).").optional(),
  heldOut: real(0, 0.9).describe("Share of the pairs kept from training.").optional(),
  fold: integer(0, 99).describe("Which share is held out, from 0: one of 1 / heldOut.").optional(),
  margin: real(0, 100).describe("By how much the preferred answer should lead.").optional(),
  centering: real(0, 100).describe("Weight of the squared sum of a pair's scores.").optional(),
  minimumAccuracy: real(0, 1).describe("Held-out accuracy without which the run ends here.").optional(),
  optimizer: optimizer.optional(),
});

const rewardModel: z.ZodType<RewardModelSpec> = ruled(rewardModelFields, [
  {
    rule: "!has(self.stepEnd) || (has(self.loss) && self.loss == 'binary-cross-entropy')",
    message: "only labelled steps need to know what ends one",
    path: ["stepEnd"],
    accepted: "loss: binary-cross-entropy beside it, or no stepEnd",
    holds: ({ loss, stepEnd }) => stepEnd === undefined || loss === "binary-cross-entropy",
  },
]).describe("A reward model from preferences or labelled steps.");

const stage: z.ZodType<StageSpec> = union(
  closed({
    name: name().describe("Name of the stage, unique in the run."),
    type: choice(STAGE_TYPES).describe("What the stage does."),
    sft: sft.optional(),
    "reward-model": rewardModel.optional(),
    grpo: grpo.optional(),
    ppo: ppo.optional(),
  }),
  STAGE_TYPES,
);

/** Stages run in order; each starts from the final policy of the one before. */
export const stagesSchema: z.ZodType<readonly StageSpec[]> = namedList(stage, 1, MAX_STAGES).describe(
  "Stages in order; each starts from the policy that the one before ended with.",
);
