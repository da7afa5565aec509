/**
 * A GRPO batch: scored trajectories into training rows. Group baselines leave failed samples out, and failed samples are
 * masked (S1); the order is by group and sample (D1). Pure.
 */
import { groupAdvantages, klEstimate, penalisedReward } from "@oarlock/rl";
import type { Trajectory } from "@oarlock/proto";
import type { ResolvedGrpo, ResolvedRollouts } from "@oarlock/runfile";
import type { TrainingRow } from "@oarlock/training";
import { sampleReward } from "./sample-reward.ts";
import type { SampleReward } from "./sample-reward.ts";
import { observeScores } from "./reward-shaping.ts";
import type { RewardMoments } from "./reward-shaping.ts";
import { trainedOf } from "./trained-tokens.ts";

/** One sample on its way into the batch. */
export interface JudgedSample {
  readonly trajectory: Trajectory;
  readonly reward: SampleReward;
  readonly row: TrainingRow;
}

export interface GrpoBatch {
  /** `[group][sample]`. */
  readonly groups: readonly (readonly JudgedSample[])[];
  /** Score minus the KL penalty where the plan puts it there; undefined: failed. */
  readonly rewards: readonly (readonly (number | undefined)[])[];
  /** Undefined: failed. */
  readonly advantages: readonly (readonly (number | undefined)[])[];
  /** In order of group and sample, ready for the trainer. */
  readonly rows: readonly TrainingRow[];
  /** Tokens that carry a gradient. */
  readonly trainedTokens: number;
}

/** Samples with their rewards and rows, before advantages. The rows' old log-probs are those of the behaviour policy. */
export function judgeSamples(
  trajectories: readonly (readonly Trajectory[])[],
  { rewards }: Pick<ResolvedRollouts, "rewards">,
  moments?: RewardMoments,
): JudgedSample[][] {
  return trajectories.map((samples, group) =>
    samples.map((trajectory) => {
      const reward = sampleReward(trajectory, rewards, moments);
      return { trajectory, reward, row: rowOf(trajectory, group, reward.total !== undefined) };
    }),
  );
}

/** The moments of normalised scorers with the scores of a batch, which are then shaped by them. */
export function batchMoments(
  before: RewardMoments | undefined,
  trajectories: readonly (readonly Trajectory[])[],
  { rewards }: Pick<ResolvedRollouts, "rewards">,
): RewardMoments | undefined {
  if (!rewards.some(({ normalize }) => normalize === "running")) return undefined;
  return observeScores(
    before,
    trajectories.flat().map((trajectory) => sampleReward(trajectory, rewards)),
    rewards,
  );
}

/** Little-endian float32; bytes within a message need not be aligned. */
const floatsOf = (bytes: Uint8Array): Float32Array => new Float32Array(new Uint8Array(bytes).buffer);

function rowOf(trajectory: Trajectory, group: number, isTrained: boolean): TrainingRow {
  const { promptLength, behaviourLogprobs, lossMask } = trajectory;
  const tokens = Int32Array.from(trajectory.tokenIds);
  const oldLogprobs = new Float32Array(tokens.length);
  oldLogprobs.set(floatsOf(behaviourLogprobs), promptLength);
  return {
    tokens,
    promptLength,
    lossMask: isTrained ? lossMask : new Uint8Array(tokens.length),
    oldLogprobs,
    group,
  };
}

/** Completes the rows. `refLogprobs` are in order of group and sample; undefined where no reference is needed. */
export function assembleBatch(
  groups: readonly (readonly JudgedSample[])[],
  grpo: ResolvedGrpo,
  refLogprobs: readonly Float32Array[] | undefined,
): GrpoBatch {
  let flat = 0;
  const withReference = groups.map((group) =>
    group.map(({ row, ...sample }) => {
      const reference = refLogprobs?.[flat++];
      return { ...sample, row: reference === undefined ? row : { ...row, refLogprobs: reference } };
    }),
  );
  const rewards = withReference.map((group) => group.map((sample) => rewardOf(sample, grpo)));
  const advantages = rewards.map((group) => groupAdvantages(grpo.advantage, group));
  const rows = withReference.flatMap((group, g) =>
    group.map(({ row }, s) => withAdvantage(row, advantages[g]?.[s] ?? 0)),
  );
  const trainedTokens = rows.reduce((sum, { lossMask }) => sum + lossMask.reduce((a, b) => a + b, 0), 0);
  return { groups: withReference, rewards, advantages, rows, trainedTokens };
}

/** Mean over the trained samples of Σ_t k1 between the policy that sampled and the reference, nats. */
export function meanSampleKl(rows: readonly TrainingRow[]): number {
  const sums = rows.flatMap((row) => {
    const { oldLogprobs, refLogprobs } = row;
    const trained = trainedOf(row);
    if (trained.length === 0) return [];
    const gap = (token: number): number => (oldLogprobs?.[token] ?? 0) - (refLogprobs?.[token] ?? 0);
    return [trained.reduce((sum, token) => sum + klEstimate("k1", gap(token)), 0)];
  });
  return sums.reduce((total, sum) => total + sum, 0) / Math.max(1, sums.length);
}

/** The reward with its KL penalty, where that is part of it. */
function rewardOf({ reward, row }: JudgedSample, { kl }: ResolvedGrpo): number | undefined {
  const { tokens, promptLength, oldLogprobs, refLogprobs } = row;
  if (reward.total === undefined || kl.placement !== "reward" || refLogprobs === undefined)
    return reward.total;
  const gaps = Array.from(tokens.subarray(promptLength), (_, at) => {
    const token = promptLength + at;
    return (oldLogprobs?.[token] ?? 0) - (refLogprobs[token] ?? 0);
  });
  return penalisedReward(reward.total, gaps, kl);
}

function withAdvantage(row: TrainingRow, advantage: number): TrainingRow {
  const advantages = new Float32Array(row.tokens.length);
  row.lossMask.forEach((trained, t) => (advantages[t] = trained === 1 ? advantage : 0));
  return { ...row, advantages };
}
