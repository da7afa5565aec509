/**
 * The rewards that PPO's tokens get (Ziegler et al., arXiv:1909.08593, eq. 2; InstructGPT, arXiv:2203.02155): the score
 * comes with the last token, and a KL penalty with every token where the plan puts it into the reward:
 *
 *   r_t = −β·KL_t + s_t + [t = T]·clip(R, ±c)
 *
 * s_t are scores of single tokens, or of steps at their last tokens, where a scorer gives them.
 */
import { klEstimate, type KlPenalty } from "./kl.ts";

export interface TokenRewardSettings {
  /** Absent: no KL in the reward. */
  readonly kl?: KlPenalty;
  /** c: scores beyond ±c are cut to it; 0: never. */
  readonly clip: number;
  /** s_t; absent: all 0. */
  readonly scores?: ArrayLike<number>;
}

/** `gaps` are log π_old − log π_ref of the completion's tokens, detached from the gradient. */
export function tokenRewards(
  score: number,
  gaps: ArrayLike<number>,
  { kl, clip, scores }: TokenRewardSettings,
): Float64Array {
  const rewards = Float64Array.from(gaps, (gap) =>
    kl === undefined ? 0 : -kl.coefficient * klEstimate(kl.estimator, gap),
  );
  if (scores !== undefined) rewards.forEach((reward, t) => (rewards[t] = reward + (scores[t] ?? 0)));
  const last = rewards.length - 1;
  const cut = clip > 0 ? Math.min(Math.max(score, -clip), clip) : score;
  if (last >= 0) rewards[last] = (rewards[last] ?? 0) + cut;
  return rewards;
}
