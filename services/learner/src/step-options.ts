/** What the trainer is told for one step: objective, averaging, optimizer at this step's rate. Pure; all from the plan. */
import { learningRateAt } from "@oarlock/nn";
import type {
  ResolvedCorrection,
  ResolvedGrpo,
  ResolvedOptimizer,
  ResolvedPpo,
  ResolvedSft,
} from "@oarlock/runfile";
import type { OptimizerSettings, StepOptions, TrainingRow } from "@oarlock/training";

/** The optimizer at step `step` (0-based) of `steps`. */
export function optimizerAt(optimizer: ResolvedOptimizer, step: number, steps: number): OptimizerSettings {
  const { beta1, beta2, epsilon, weightDecay, maxGradNorm, learningRate, warmupSteps, minLearningRate } =
    optimizer;
  const schedule = {
    kind: optimizer.schedule,
    learningRate,
    warmupSteps,
    totalSteps: steps,
    finalFraction: learningRate > 0 ? minLearningRate / learningRate : 0,
  };
  return {
    learningRate: learningRateAt(schedule, step),
    beta1,
    beta2,
    epsilon,
    weightDecay,
    ...(maxGradNorm > 0 ? { maxGradNorm } : {}),
  };
}

/** Of a supervised step. */
export function sftStepOptions(sft: ResolvedSft, step: number): StepOptions {
  return {
    objective: { type: "sft" },
    aggregation: "token-mean-global",
    optimizer: optimizerAt(sft.optimizer, step, sft.steps),
    microBatchSize: sft.microBatchSize,
  };
}

/** Of a GRPO step; with a `correction`, rows carry the weights of samples that older policies drew. */
export function grpoStepOptions(
  grpo: ResolvedGrpo,
  step: number,
  correction?: ResolvedCorrection,
): StepOptions {
  const { kl, clip } = grpo;
  return {
    objective: {
      type: "grpo",
      clip: { ...clip, dual: grpo.dualClip },
      klCoefficient: kl.placement === "loss" ? kl.coefficient : 0,
      klEstimator: kl.estimator,
      entropyCoefficient: grpo.entropyCoefficient,
      ...(correction === undefined ? {} : { importance: true }),
    },
    aggregation: grpo.aggregation,
    // L_max of `dr-grpo`: no completion has more trained tokens.
    maxLength: grpo.sampling.maxNewTokens,
    optimizer: optimizerAt(grpo.optimizer, step, grpo.steps),
    microBatchSize: grpo.microBatchSize,
    temperature: grpo.sampling.temperature,
    epochs: grpo.epochs,
  };
}

/** What of a PPO step the plan does not say. */
export interface PpoMoment {
  readonly step: number;
  /** β of this step. */
  readonly klCoefficient: number;
  /** Order of the rows in every pass. */
  readonly order: readonly Int32Array[];
  /** Rows carry the weights of samples that older policies drew. */
  readonly correction?: ResolvedCorrection | undefined;
  /** Rows that are mixed in. Default: none. */
  readonly mixed?: readonly TrainingRow[];
}

/** Sequences of one update, before failed ones are left out. */
export function miniBatchSize({ promptsPerStep, groupSize, miniBatches }: ResolvedPpo): number {
  return Math.ceil((promptsPerStep * groupSize) / miniBatches);
}

/** Of the policy in a PPO step. The objective is GRPO's graph: clipped surrogate, KL, entropy; advantages are a token's own. */
export function ppoStepOptions(ppo: ResolvedPpo, moment: PpoMoment): StepOptions {
  const { kl, clip, dualClip, entropyCoefficient, maxKl, ptx, critic } = ppo;
  const { step, klCoefficient, order, mixed = [], correction } = moment;
  return {
    objective: {
      type: "grpo",
      clip: { ...clip, dual: dualClip },
      klCoefficient: kl.placement === "loss" ? klCoefficient : 0,
      klEstimator: kl.estimator,
      entropyCoefficient,
      ...(correction === undefined ? {} : { importance: true }),
      ...(critic.network === "trunk"
        ? { value: { clip: critic.clip, coefficient: critic.coefficient } }
        : {}),
    },
    aggregation: ppo.aggregation,
    maxLength: ppo.sampling.maxNewTokens,
    optimizer: optimizerAt(ppo.optimizer, step, ppo.steps),
    microBatchSize: ppo.microBatchSize,
    miniBatchSize: miniBatchSize(ppo),
    temperature: ppo.sampling.temperature,
    epochs: ppo.epochs,
    order,
    ...(ptx === undefined ? {} : { mix: { rows: mixed, coefficient: ptx.coefficient } }),
    ...(maxKl > 0 ? { maxKl } : {}),
  };
}

/**
 * Of the critic in a PPO step: the same rows in the same order. A value head on the policy's trunk, alone in its warm-up, has
 * the loss that it goes on with.
 */
export function criticStepOptions(ppo: ResolvedPpo, { step, order }: PpoMoment): StepOptions {
  const headOnly = ppo.critic.network === "trunk";
  return {
    objective: { type: "value", clip: ppo.critic.clip, ...(headOnly ? { headOnly } : {}) },
    aggregation: headOnly ? ppo.aggregation : "token-mean-global",
    ...(headOnly ? { maxLength: ppo.sampling.maxNewTokens } : {}),
    optimizer: optimizerAt(ppo.critic.optimizer, step, ppo.steps),
    microBatchSize: ppo.microBatchSize,
    miniBatchSize: miniBatchSize(ppo),
    epochs: ppo.epochs,
    order,
  };
}
