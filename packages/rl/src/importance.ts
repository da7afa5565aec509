/**
 * Correction for samples of another policy than the one that trains (decoupled PPO, arXiv:2505.24298, eq. 5): with
 * ρ_t = π_prox/μ of the sampled tokens, a weight w_t that multiplies the surrogate, outside its minimum, and that no
 * gradient flows through. π_prox is recomputed by the learner. Where π_old := μ the surrogate's ratio contains ρ: no w then.
 *
 *   token       w_t = clip(ρ_t, min, max)                (truncated importance sampling)
 *   sequence    w_t = clip(Π_t ρ_t, min, max)            (of every token of the sequence)
 *   token-mask  w_t = ρ_t where min ≤ ρ_t ≤ max, else 0  (IcePop); denominators stay those of all tokens
 */
import { MAX_LOG_RATIO } from "./kl.ts";
import type { SampledSequence } from "./mismatch.ts";

export const CORRECTIONS = ["none", "token", "sequence", "token-mask"] as const;
export type Correction = (typeof CORRECTIONS)[number];

export interface CorrectionSettings {
  readonly level: Correction;
  /** Bounds of the ratio, 0 ≤ min ≤ 1 ≤ max. */
  readonly minRatio: number;
  readonly maxRatio: number;
}

const clampedExp = (logRatio: number): number =>
  Math.exp(Math.min(Math.max(logRatio, -MAX_LOG_RATIO), MAX_LOG_RATIO));

/** ρ of each token. */
function ratios({ rollout, training }: SampledSequence): number[] {
  return Array.from(training, (value, t) => clampedExp(value - (rollout[t] ?? Number.NaN)));
}

/** Π ρ of the sequence. */
function product({ rollout, training }: SampledSequence): number {
  const total = Array.from(training).reduce((sum, value, t) => sum + value - (rollout[t] ?? Number.NaN), 0);
  return clampedExp(total);
}

const rules: {
  readonly [C in Correction]: (sequence: SampledSequence, bounds: CorrectionSettings) => number[];
} = {
  none: (sequence) => ratios(sequence).map(() => 1),
  token: (sequence, { minRatio, maxRatio }) =>
    ratios(sequence).map((ratio) => Math.min(Math.max(ratio, minRatio), maxRatio)),
  sequence: (sequence, { minRatio, maxRatio }) => {
    const weight = Math.min(Math.max(product(sequence), minRatio), maxRatio);
    return ratios(sequence).map(() => weight);
  },
  "token-mask": (sequence, { minRatio, maxRatio }) =>
    ratios(sequence).map((ratio) => (ratio >= minRatio && ratio <= maxRatio ? ratio : 0)),
};

/** w of each trained token of a sequence. */
export function importanceWeights(sequence: SampledSequence, settings: CorrectionSettings): number[] {
  return rules[settings.level](sequence, settings);
}

const mean = (values: readonly number[]): number =>
  values.reduce((total, value) => total + value, 0) / values.length;

/**
 * Metrics by verl's names; none without a correction or a token. Mean, deviation and effective sample size, (Σw)² / (n·Σw²),
 * are of the weights; maximum, minimum and the fractions outside the bounds are of the ratios before they are bounded.
 */
export function importanceMetrics(
  sequences: readonly SampledSequence[],
  settings: CorrectionSettings,
): Record<string, number> {
  const used = sequences.filter(({ training }) => training.length > 0);
  if (settings.level === "none" || used.length === 0) return {};
  const weights = used.flatMap((sequence) => importanceWeights(sequence, settings));
  const raw = used.flatMap((sequence) =>
    settings.level === "sequence" ? Array.from(sequence.training, () => product(sequence)) : ratios(sequence),
  );
  const center = mean(weights);
  const squares = mean(weights.map((weight) => weight ** 2));
  const share = (holds: (ratio: number) => boolean): number => raw.filter(holds).length / raw.length;
  return {
    "rollout_corr/rollout_is_mean": center,
    "rollout_corr/rollout_is_std": Math.sqrt(Math.max(0, squares - center ** 2)),
    "rollout_corr/rollout_is_eff_sample_size": squares > 0 ? center ** 2 / squares : 0,
    "rollout_corr/rollout_is_max": raw.reduce((most, ratio) => Math.max(most, ratio), 0),
    "rollout_corr/rollout_is_min": raw.reduce((least, ratio) => Math.min(least, ratio), Infinity),
    "rollout_corr/rollout_is_ratio_fraction_high": share((ratio) => ratio > settings.maxRatio),
    "rollout_corr/rollout_is_ratio_fraction_low": share((ratio) => ratio < settings.minRatio),
  };
}
