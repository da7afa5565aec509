/**
 * A PPO batch: scored samples, with log-probs and values of the step's start, into rows for policy and critic. Rewards of
 * tokens, advantages and returns are rl's; here they meet rows. Failed samples are not among them (S1). Pure.
 */
import { generalisedAdvantages, klEstimate, tokenRewards, whiten } from "@oarlock/rl";
import type { ResolvedPpo } from "@oarlock/runfile";
import type { TrainingRow } from "@oarlock/training";
import { trainedOf } from "./trained-tokens.ts";

/** One sample at the step's start; arrays lie beside the row's tokens. */
export interface PpoSample {
  readonly row: TrainingRow;
  /** Of the whole completion. */
  readonly score: number;
  /** Of single tokens, by their index; absent: there are none. */
  readonly tokenScores?: ReadonlyMap<number, number>;
  readonly logprobs: Float32Array;
  /** Absent: no KL is wanted. */
  readonly refLogprobs: Float32Array | undefined;
  readonly values: Float32Array;
}

export interface PpoBatch {
  /** With everything that policy and critic learn from. */
  readonly rows: readonly TrainingRow[];
  /** Sum of each sample's token rewards: the score, less the KL penalty where it is in the reward. */
  readonly rewards: readonly number[];
  /** Mean over each sample's tokens, as they are trained on. */
  readonly advantages: readonly number[];
  /** Mean over samples of Σ_t k1, nats: what the controller steers. 0 without a reference. */
  readonly kl: number;
  /** The same, mean over tokens: nats a token. */
  readonly tokenKl: number;
  /** Share of the returns' variance that the values explained; of no variance, 0. */
  readonly explainedVariance: number;
  readonly meanValue: number;
  readonly meanReturn: number;
}

interface Trajectory {
  readonly sample: PpoSample;
  readonly tokens: readonly number[];
  readonly gaps: readonly number[];
  readonly values: readonly number[];
}

function trajectoryOf(sample: PpoSample): Trajectory {
  const { row, logprobs, refLogprobs, values } = sample;
  const tokens = trainedOf(row);
  const gap = (token: number): number =>
    refLogprobs === undefined ? 0 : (logprobs[token] ?? 0) - (refLogprobs[token] ?? 0);
  return { sample, tokens, gaps: tokens.map(gap), values: tokens.map((token) => values[token] ?? 0) };
}

/** Lists of numbers as one, changed together, and cut again. */
function together(
  lists: readonly Float64Array[],
  change: (all: Float64Array) => Float64Array,
): Float64Array[] {
  const all = new Float64Array(lists.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  for (const list of lists) {
    all.set(list, end);
    end += list.length;
  }
  const changed = change(all);
  let start = 0;
  return lists.map(({ length }) => changed.subarray(start, (start += length)));
}

/** `klCoefficient` is the β of this step. */
export function assemblePpoBatch(
  samples: readonly PpoSample[],
  ppo: ResolvedPpo,
  klCoefficient: number,
): PpoBatch {
  const { kl, rewardClip, gamma, lambda } = ppo;
  const penalty = { estimator: kl.estimator, coefficient: klCoefficient };
  const trajectories = samples.map(trajectoryOf);
  const raw = trajectories.map(({ sample, tokens, gaps }) =>
    tokenRewards(sample.score, gaps, {
      clip: rewardClip,
      ...(sample.tokenScores === undefined
        ? {}
        : { scores: tokens.map((token) => sample.tokenScores?.get(token) ?? 0) }),
      ...(kl.placement === "reward" ? { kl: penalty } : {}),
    }),
  );
  const rewards = ppo.whitenRewards ? together(raw, (all) => whiten(all, { center: false })) : raw;
  const estimates = trajectories.map(({ values }, i) =>
    generalisedAdvantages(rewards[i] ?? [], values, { gamma, lambda }),
  );
  const plain = estimates.map(({ advantages }) => advantages);
  const advantages = ppo.whitenAdvantages ? together(plain, whiten) : plain;
  const rows = trajectories.map(({ sample, tokens }, i): TrainingRow => {
    const spread = (list: ArrayLike<number> | undefined): Float32Array => {
      const beside = new Float32Array(sample.row.tokens.length);
      tokens.forEach((token, t) => (beside[token] = list?.[t] ?? 0));
      return beside;
    };
    return {
      ...sample.row,
      oldLogprobs: sample.logprobs,
      ...(sample.refLogprobs === undefined ? {} : { refLogprobs: sample.refLogprobs }),
      advantages: spread(advantages[i]),
      returns: spread(estimates[i]?.returns),
      oldValues: sample.values,
    };
  });
  const returns = estimates.flatMap((one) => [...one.returns]);
  const values = trajectories.flatMap((one) => one.values);
  return {
    rows,
    rewards: raw.map(sumOf),
    advantages: advantages.map((list) => sumOf(list) / Math.max(1, list.length)),
    kl: mean(trajectories.map(({ gaps }) => gaps.reduce((total, gap) => total + klEstimate("k1", gap), 0))),
    tokenKl: mean(trajectories.flatMap(({ gaps }) => gaps.map((gap) => klEstimate("k1", gap)))),
    explainedVariance: explained(returns, values),
    meanValue: mean(values),
    meanReturn: mean(returns),
  };
}

const sumOf = (list: Float64Array): number => list.reduce((total, value) => total + value, 0);

const mean = (list: readonly number[]): number =>
  list.reduce((total, value) => total + value, 0) / Math.max(1, list.length);

function variance(list: readonly number[]): number {
  const center = mean(list);
  return mean(list.map((value) => (value - center) ** 2));
}

/** 1 − Var(return − value) / Var(return). */
function explained(returns: readonly number[], values: readonly number[]): number {
  const spread = variance(returns);
  return spread === 0 ? 0 : 1 - variance(returns.map((value, i) => value - (values[i] ?? 0))) / spread;
}
