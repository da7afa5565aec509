/** Samples that nobody could score (S1): how many of a batch, and why the first of them failed. Pure but for its refusal. */
import { OarlockError } from "@oarlock/errors";
import type { SampleReward } from "./sample-reward.ts";

/** Characters of a reason that are written down: a scorer may say anything. */
const MOST_REASON = 400;

/** The failed samples of a batch. */
export interface Unscored {
  readonly failed: number;
  /** Samples of the batch. */
  readonly of: number;
  /** Why the first one failed. */
  readonly reason: string;
}

/** Why a sample has no total, short enough for a record; undefined where it has one. */
export function failureOf({ total, failure = "no verdict" }: SampleReward): string | undefined {
  if (total !== undefined) return undefined;
  return failure.length <= MOST_REASON ? failure : `${failure.slice(0, MOST_REASON)}…`;
}

/** Undefined: every sample has its score. */
export function unscoredOf(rewards: readonly SampleReward[]): Unscored | undefined {
  const reasons = rewards.flatMap((reward) => failureOf(reward) ?? []);
  const [reason] = reasons;
  return reason === undefined ? undefined : { failed: reasons.length, of: rewards.length, reason };
}

/** A stage whose very first batch has no score at all would go on without learning: `REWARDS_FAILED`. */
export function checkScored(stage: string, step: number, unscored: Unscored | undefined): void {
  if (unscored === undefined || step > 1 || unscored.failed < unscored.of) return;
  throw new OarlockError(
    "REWARDS_FAILED",
    `stage ${stage}, step ${step}: none of ${unscored.of} samples could be scored; the first: ${unscored.reason}`,
  );
}
