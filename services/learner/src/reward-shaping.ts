/**
 * What becomes of a score before it is weighed: less the running mean over the running deviation of its scorer's scores in the
 * stage so far, then cut to its bounds. The moments are the learner's, in its checkpoint (T3), and grow in the order of group
 * and sample (D1). A failure is no score and moves nothing (S1). Pure.
 */
import type { ResolvedReward } from "@oarlock/runfile";

/** Of one scorer's scores; Welford's recurrence. */
export interface Moments {
  readonly count: number;
  readonly mean: number;
  /** Sum of squared distances from the mean. */
  readonly squares: number;
}

/** By the scorer's name. */
export type RewardMoments = Readonly<Record<string, Moments>>;

const NONE: Moments = { count: 0, mean: 0, squares: 0 };
/** Keeps scores that are all but equal from being blown up. */
const EPSILON = 1e-8;

type Shaping = Pick<ResolvedReward, "name" | "clip" | "normalize">;

/** The moments with the scores of one more sample. */
function observed({ count, mean, squares }: Moments, value: number): Moments {
  const next = mean + (value - mean) / (count + 1);
  return { count: count + 1, mean: next, squares: squares + (value - mean) * (value - next) };
}

/** The moments after a batch, whose samples are in order; undefined where no scorer is normalised. */
export function observeScores(
  before: RewardMoments | undefined,
  samples: readonly { readonly named: Readonly<Record<string, number | null>> }[],
  rewards: readonly Shaping[],
): RewardMoments | undefined {
  const normalized = rewards.filter(({ normalize }) => normalize === "running");
  if (normalized.length === 0) return undefined;
  const after = normalized.map(({ name }) => {
    const values = samples.flatMap(({ named }) => named[name] ?? []);
    return [name, values.reduce(observed, before?.[name] ?? NONE)] as const;
  });
  return Object.fromEntries(after);
}

/** The score as it is weighed. */
export function shapedScore(
  value: number,
  { name, clip, normalize }: Shaping,
  moments?: RewardMoments,
): number {
  const { count, mean, squares } = (normalize === "running" ? moments?.[name] : undefined) ?? NONE;
  const scaled = count === 0 ? value : (value - mean) / (Math.sqrt(squares / count) + EPSILON);
  return clip === undefined ? scaled : Math.min(Math.max(scaled, clip.min), clip.max);
}
