/** Evaluation estimates over n samples a prompt: mean@k, the unbiased pass@k, and intervals of confidence. */

/**
 * Unbiased pass@k (Chen et al. 2021, arXiv:2107.03374): 1 − C(n − c, k) / C(n, k), the chance that k of n samples hold one
 * of the c correct ones. NaN where k > n.
 */
export function passAtK(samples: number, correct: number, k: number): number {
  if (k > samples) return Number.NaN;
  if (samples - correct < k) return 1;
  let missing = 1;
  for (let i = samples - correct + 1; i <= samples; i++) missing *= 1 - k / i;
  return 1 - missing;
}

export interface Estimate {
  readonly mean: number;
  /** Bounds of the 95 % interval. */
  readonly low: number;
  readonly high: number;
}

/** z of a two-sided 95 % interval. */
const Z_95 = 1.959964;

/** The mean over prompts with a normal 95 % interval from the spread between prompts (prompts are the sampling unit). */
function estimateMean(perPrompt: readonly number[]): Estimate {
  const n = perPrompt.length;
  const mean = perPrompt.reduce((total, value) => total + value, 0) / n;
  const variance = n < 2 ? 0 : perPrompt.reduce((total, value) => total + (value - mean) ** 2, 0) / (n - 1);
  const margin = Z_95 * Math.sqrt(variance / n);
  return { mean, low: mean - margin, high: mean + margin };
}

/** The mean of scores: Wilson's interval where each is 0 or 1, else the normal one, kept inside 0 … 1 where the scores are. */
export function estimateScore(perPrompt: readonly number[]): Estimate {
  const within = perPrompt.every((score) => score >= 0 && score <= 1);
  if (within && perPrompt.every(Number.isInteger)) {
    return estimateShare(perPrompt.filter((score) => score === 1).length, perPrompt.length);
  }
  const { mean, low, high } = estimateMean(perPrompt);
  return within ? { mean, low: Math.max(0, low), high: Math.min(1, high) } : { mean, low, high };
}

/** A share of successes with Wilson's 95 % interval, which holds also near 0 and 1. */
export function estimateShare(successes: number, trials: number): Estimate {
  const mean = successes / trials;
  const z2 = Z_95 ** 2 / trials;
  const center = (mean + z2 / 2) / (1 + z2);
  const margin = (Z_95 / (1 + z2)) * Math.sqrt((mean * (1 - mean)) / trials + z2 / (4 * trials));
  return { mean, low: Math.max(0, center - margin), high: Math.min(1, center + margin) };
}
