/**
 * Every number the learner reports, by verl's names. Units: seconds under `timing_s/`, tokens and sequences elsewhere
 * as the name says, rewards in the run's own units. Pure. The instruments of telemetry are in `instruments.ts`.
 */
import { FinishReason } from "@oarlock/proto";
import type { Trajectory } from "@oarlock/proto";
import type { Position } from "@oarlock/run";
import type { ResolvedRun } from "@oarlock/runfile";
import type { StepOptions, StepResult } from "@oarlock/training";
import { stepsDone, stepsOf } from "./plan.ts";

/** Phases of a rollout step, in seconds. `gen` is the wait for the batch: with lag it overlaps the step before. */
export interface StepTiming {
  readonly gen: number;
  readonly ref: number;
  readonly adv: number;
  readonly updateActor: number;
}

type Numbers = Record<string, number>;

/** `name/mean`, `name/max`, `name/min`; nothing of an empty list. */
export function spread(name: string, values: readonly number[]): Numbers {
  if (values.length === 0) return {};
  let [sum, max, min] = [0, -Infinity, Infinity];
  for (const value of values) {
    sum += value;
    if (value > max) max = value;
    if (value < min) min = value;
  }
  return { [`${name}/mean`]: sum / values.length, [`${name}/max`]: max, [`${name}/min`]: min };
}

/** What the metrics of a rollout batch are made from: `[group][sample]`. */
export interface BatchNumbers {
  readonly trajectories: readonly (readonly Trajectory[])[];
  /** Weighted sum of rewards; undefined: failed (S1). */
  readonly scores: readonly (readonly (number | undefined)[])[];
  /** Score after a KL penalty in the reward. */
  readonly rewards: readonly (readonly (number | undefined)[])[];
  readonly advantages: readonly (readonly (number | undefined)[])[];
  /** Values of each named scorer that gave one, by the metric's name. */
  readonly named: Readonly<Record<string, readonly number[]>>;
}

/** Metrics of a rollout batch. */
export function batchMetrics(batch: BatchNumbers): Numbers {
  const samples = batch.trajectories.flat();
  const responses = samples.map(({ tokenIds, promptLength }) => tokenIds.length - promptLength);
  const prompts = samples.map(({ promptLength }) => promptLength);
  const cut = samples.filter(({ finishReason }) => finishReason === FinishReason.LENGTH).length;
  const scores = batch.scores.flat();
  const known = scores.filter((score) => score !== undefined);
  const spreads = batch.scores.map((group) => group.filter((score) => score !== undefined));
  // A group without scores is neither solved nor unsolved (S1).
  const isFlat = (group: readonly number[]): boolean =>
    group.length > 0 && group.every((score) => score === group[0]);
  return {
    ...spread("critic/score", known),
    ...spread(
      "critic/rewards",
      batch.rewards.flat().filter((reward) => reward !== undefined),
    ),
    ...spread(
      "critic/advantages",
      batch.advantages.flat().filter((advantage) => advantage !== undefined),
    ),
    ...Object.assign({}, ...Object.entries(batch.named).map(([name, values]) => spread(name, values))),
    ...spread("response_length", responses),
    "response_length/clip_ratio": cut / Math.max(1, samples.length),
    ...spread("prompt_length", prompts),
    "reward/failed_fraction": (scores.length - known.length) / Math.max(1, scores.length),
    // Groups whose samples agree teach nothing: all with a positive score, or all without.
    "reward/solved_all":
      spreads.filter((group) => isFlat(group) && (group[0] ?? 0) > 0).length / spreads.length,
    "reward/solved_none":
      spreads.filter((group) => isFlat(group) && (group[0] ?? 0) <= 0).length / spreads.length,
    "perf/total_num_tokens": samples.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0),
  };
}

/** Metrics of a step's phases. */
export function timingMetrics(timing: StepTiming): Numbers {
  return {
    "timing_s/gen": timing.gen,
    "timing_s/ref": timing.ref,
    "timing_s/adv": timing.adv,
    "timing_s/update_actor": timing.updateActor,
  };
}

/** Metrics of an optimizer step. */
export function updateMetrics(result: StepResult, options: StepOptions): Numbers {
  const { sums, gradNorm, applied } = result;
  const { objective } = options;
  const isRl = objective.type === "grpo";
  // Where the KL is no term of the loss it is not computed there: it is no 0.
  const hasKl = objective.type === "grpo" && objective.klCoefficient !== 0;
  return {
    "actor/grad_norm": gradNorm,
    "actor/lr": options.optimizer.learningRate,
    "actor/update_rejected": applied ? 0 : 1,
    ...(isRl
      ? {
          "actor/entropy": sums.entropy,
          "actor/loss": sums.loss,
          "actor/pg_loss": sums.policyLoss,
          ...(hasKl ? { "actor/kl_loss": sums.refKl } : {}),
          "actor/ppo_kl": sums.oldKl,
          "actor/pg_clipfrac": sums.clipFraction,
          "actor/pg_clipfrac_lower": sums.clipFractionLower,
        }
      : { "train/nll": sums.nll }),
    "perf/padding_fraction": 1 - result.tokens.total / Math.max(1, result.tokens.computed),
  };
}

/** Seconds left of the stage at the pace of its last step; undefined before the first. */
export function remainingSeconds(
  run: ResolvedRun,
  position: Pick<Position, "stage" | "step" | "ended">,
  metrics: Readonly<Record<string, number>>,
): number | undefined {
  const stage = run.spec.stages[position.stage];
  const pace = metrics["timing_s/step"];
  if (stage === undefined || pace === undefined) return undefined;
  return (stepsOf(stage) - stepsDone(stage, position)) * pace;
}
