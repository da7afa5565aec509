/** What the trainer is told for one step: objective, averaging, optimizer at this step's rate. Pure; all from the plan. */
import { learningRateAt } from "@oarlock/nn";
import type { ResolvedGrpo, ResolvedOptimizer, ResolvedSft } from "@oarlock/runfile";
import type { OptimizerSettings, StepOptions } from "@oarlock/training";

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

/** Of a GRPO step. */
export function grpoStepOptions(grpo: ResolvedGrpo, step: number): StepOptions {
  const { kl, clip } = grpo;
  return {
    objective: {
      type: "grpo",
      clip: { ...clip, dual: grpo.dualClip },
      klCoefficient: kl.placement === "loss" ? kl.coefficient : 0,
      klEstimator: kl.estimator,
      entropyCoefficient: 0,
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
