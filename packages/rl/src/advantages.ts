/**
 * Critic-free advantages: from the rewards of one prompt's completions to one number per completion, which every token
 * of the completion shares. A failed sample has no reward: it is left out of the group's baseline and gets no advantage
 * (S1). Pure numbers; the caller masks failed samples.
 */

/** The reward of a sample, or undefined where its scoring failed. */
export type GroupReward = number | undefined;

/** Added to the group's standard deviation, so that nearly equal rewards do not blow up. */
export const STD_EPSILON = 1e-6;

export const ADVANTAGES = ["grpo", "dr-grpo"] as const;
export type AdvantageName = (typeof ADVANTAGES)[number];

const mean = (values: readonly number[]): number =>
  values.reduce((total, value) => total + value, 0) / values.length;

/** Sample standard deviation (divides by n − 1); 0 for a single value. */
function standardDeviation(values: readonly number[], center: number): number {
  if (values.length < 2) return 0;
  return Math.sqrt(values.reduce((total, value) => total + (value - center) ** 2, 0) / (values.length - 1));
}

type Estimator = (reward: number, scored: readonly number[]) => number;

const estimators: { readonly [Name in AdvantageName]: Estimator } = {
  /** GRPO (arXiv:2402.03300): (R − mean) / (std + ε), std with n − 1; exactly 0 where all rewards are equal. */
  grpo(reward, scored) {
    const center = mean(scored);
    const spread = standardDeviation(scored, center);
    return scored.every((other) => other === scored[0]) ? 0 : (reward - center) / (spread + STD_EPSILON);
  },
  /** Dr. GRPO (arXiv:2503.20783): R − mean; the loss divides by a constant instead of by lengths. */
  "dr-grpo": (reward, scored) => (scored.length < 2 ? 0 : reward - mean(scored)),
};

/** The advantage of each sample of one group; undefined where the sample failed. */
export function groupAdvantages(name: AdvantageName, rewards: readonly GroupReward[]): GroupReward[] {
  const scored = rewards.filter((reward) => reward !== undefined);
  return rewards.map((reward) => (reward === undefined ? undefined : estimators[name](reward, scored)));
}
