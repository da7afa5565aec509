/**
 * From named verdicts to one number per sample (S1): the weighted sum, or failed. A failed scorer of non-zero weight
 * fails the sample unless it is optional; where none of non-zero weight gave a score there is no sum. A failure is never a
 * number. Pure.
 */
import { FinishReason } from "@oarlock/proto";
import type { NamedReward, Trajectory } from "@oarlock/proto";
import { isUsableScore } from "@oarlock/rewards";
import type { ResolvedReward } from "@oarlock/runfile";
import { shapedScore } from "./reward-shaping.ts";
import type { RewardMoments } from "./reward-shaping.ts";

export interface SampleReward {
  /** Undefined: failed. */
  readonly total: number | undefined;
  /** Where scorers scored tokens: the total as what comes with the last token, and what comes before. */
  readonly spread?: SpreadReward;
  /** Each scorer's value; null where it failed. */
  readonly named: Readonly<Record<string, number | null>>;
  /** Why the sample failed. */
  readonly failure?: string;
}

export interface SpreadReward {
  /** Of scorers of the whole completion. */
  readonly sequence: number;
  /** Weighted scores by token index. */
  readonly tokens: ReadonlyMap<number, number>;
}

/** What a scorer's message says: a value, or why there is none. */
function valueOf(reward: NamedReward | undefined): { value: number } | { failure: string } {
  if (reward?.verdict.case === "scored") {
    const value = reward.verdict.value.values.reduce((sum, part) => sum + part, 0);
    return isUsableScore(value) ? { value } : { failure: `${reward.name} gave ${value}` };
  }
  if (reward?.verdict.case === "failed") {
    const { code, reason } = reward.verdict.value;
    return { failure: `${reward.name}: ${code}: ${reason}` };
  }
  return { failure: "no verdict" };
}

/** The reward of one sample under the plan's scorers. `named` are raw scores; the total has them shaped. */
export function sampleReward(
  trajectory: Trajectory,
  scorers: readonly ResolvedReward[],
  moments?: RewardMoments,
): SampleReward {
  const named: Record<string, number | null> = {};
  let [total, sequence] = [0, 0];
  const tokens = new Map<number, number>();
  const failures = new Map<string, string>();
  for (const scorer of scorers) {
    const reward = trajectory.rewards.find(({ name }) => name === scorer.name);
    const verdict = valueOf(reward);
    if ("value" in verdict) {
      named[scorer.name] = verdict.value;
      const part = scorer.weight * shapedScore(verdict.value, scorer, moments);
      total += part;
      if (!spread(reward, scorer.weight, tokens)) sequence += part;
      continue;
    }
    named[scorer.name] = null;
    failures.set(scorer.name, verdict.failure);
  }
  const isAborted = trajectory.finishReason === FinishReason.ABORT;
  const failed = isAborted ? "generation was aborted" : whyFailed(scorers, failures);
  const failure =
    failed ?? (isUsableScore(total) ? undefined : `the weighted sum is ${total}: beyond float32`);
  if (failure === undefined && tokens.size > 0) return { total, named, spread: { sequence, tokens } };
  return failure === undefined ? { total, named } : { total: undefined, named, failure };
}

/** Why a sample fails, by the reasons of the scorers that failed: one that must not did, or all that are weighed. */
export function whyFailed(
  scorers: readonly Pick<ResolvedReward, "name" | "weight" | "optional">[],
  failures: ReadonlyMap<string, string>,
): string | undefined {
  const weighed = scorers.filter(({ weight }) => weight !== 0);
  const failed = weighed.filter(({ name }) => failures.has(name));
  const isEmpty = failed.length === weighed.length;
  const [first] = isEmpty ? failed : failed.filter(({ optional }) => !optional);
  return first && failures.get(first.name);
}

/** Adds a scorer's scores of tokens to those of others; false where it gave one score. */
function spread(reward: NamedReward | undefined, weight: number, tokens: Map<number, number>): boolean {
  if (reward?.verdict.case !== "scored" || reward.verdict.value.positions.length === 0) return false;
  const { positions, values } = reward.verdict.value;
  positions.forEach((position, i) =>
    tokens.set(position, (tokens.get(position) ?? 0) + weight * (values[i] ?? 0)),
  );
  return true;
}
