/**
 * How far the policy that sampled (μ, its log-probs travel with the trajectory) is from the one that trains (π_old): verl's
 * `rollout_corr/*` and `training/rollout_probs_diff_*`. With ρ_t = π_old/μ of the sampled tokens, log-ratios clamped.
 * Pure numbers; it does not know where log-probs come from.
 */
import { MAX_LOG_RATIO } from "./kl.ts";

/** One sequence's trained tokens, log-probs in nats under both policies. Equal lengths. */
export interface SampledSequence {
  readonly rollout: ArrayLike<number>;
  readonly training: ArrayLike<number>;
}

const mean = (values: readonly number[]): number =>
  values.reduce((total, value) => total + value, 0) / values.length;

const clamped = (logRatio: number): number => Math.min(Math.max(logRatio, -MAX_LOG_RATIO), MAX_LOG_RATIO);

/** Sample standard deviation (divides by n − 1); 0 for a single value. */
function deviation(values: readonly number[]): number {
  const center = mean(values);
  const squares = values.reduce((total, value) => total + (value - center) ** 2, 0);
  return values.length < 2 ? 0 : Math.sqrt(squares / (values.length - 1));
}

/** Metrics by verl's names; none where no sequence has a token. Sequences without tokens count nowhere. */
export function mismatchMetrics(sequences: readonly SampledSequence[]): Record<string, number> {
  const used = sequences.filter(({ rollout }) => rollout.length > 0);
  if (used.length === 0) return {};
  const logRatios = used.map(({ rollout, training }) =>
    Array.from(training, (value, t) => clamped(value - (rollout[t] ?? Number.NaN))),
  );
  const tokens = logRatios.flat();
  const differences = used.flatMap(({ rollout, training }) =>
    Array.from(training, (value, t) => Math.abs(Math.exp(value) - Math.exp(rollout[t] ?? Number.NaN))),
  );
  // Per sequence: log of the ratio of perplexities, training over rollout.
  const gaps = logRatios.map((ratios) => -mean(ratios));
  const perplexity = (side: "rollout" | "training"): number =>
    mean(used.map((sequence) => Math.exp(-mean(Array.from(sequence[side])))));
  const product = (ratios: readonly number[]): number =>
    Math.exp(2 * clamped(ratios.reduce((total, ratio) => total + ratio, 0)));
  return {
    "training/rollout_probs_diff_mean": mean(differences),
    "training/rollout_probs_diff_max": differences.reduce((most, value) => Math.max(most, value), 0),
    "training/rollout_probs_diff_std": deviation(differences),
    "rollout_corr/kl": -mean(tokens),
    "rollout_corr/k3_kl": mean(tokens.map((ratio) => Math.expm1(ratio) - ratio)),
    "rollout_corr/training_ppl": perplexity("training"),
    "rollout_corr/rollout_ppl": perplexity("rollout"),
    "rollout_corr/ppl_ratio": mean(gaps.map(Math.exp)),
    "rollout_corr/log_ppl_diff": mean(gaps),
    "rollout_corr/log_ppl_abs_diff": mean(gaps.map(Math.abs)),
    "rollout_corr/chi2_token": mean(tokens.map((ratio) => Math.exp(2 * ratio))) - 1,
    "rollout_corr/chi2_seq": mean(logRatios.map(product)) - 1,
  };
}
