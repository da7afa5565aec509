/**
 * Per-token estimators of KL(π ‖ π_ref) from one sampled token (Schulman, "Approximating KL divergence", 2020), with
 * d = log π − log π_ref: k1 = d, k2 = d²/2, k3 = e^(−d) − 1 + d ≥ 0.
 */
import { add, clip, exp, mul, neg, sub, type Value } from "@oarlock/onnx";

export const KL_ESTIMATORS = ["k1", "k2", "k3"] as const;
export type KlEstimator = (typeof KL_ESTIMATORS)[number];

/** Log-ratios beyond this are clamped before the exponential, as verl, OpenRLHF and NeMo-RL do. */
export const MAX_LOG_RATIO = 20;

const reference: { readonly [K in KlEstimator]: (gap: number) => number } = {
  k1: (gap) => gap,
  k2: (gap) => (gap * gap) / 2,
  // expm1 keeps the digits of small gaps; rounding must not make the estimate negative.
  k3: (gap) => Math.max(0, Math.expm1(-gap) + gap),
};

/** The estimate for one token, in nats; `gap` is log π − log π_ref. */
export function klEstimate(estimator: KlEstimator, gap: number): number {
  return reference[estimator](Math.min(Math.max(gap, -MAX_LOG_RATIO), MAX_LOG_RATIO));
}

export interface KlPenalty {
  readonly estimator: KlEstimator;
  /** β. */
  readonly coefficient: number;
}

/**
 * A completion's reward where the KL is part of it: R − β · Σ_t KL_t. `gaps` are log π_old − log π_ref of its trained
 * tokens, detached from the gradient.
 */
export function penalisedReward(
  reward: number,
  gaps: readonly number[],
  { estimator, coefficient }: KlPenalty,
): number {
  return reward - coefficient * gaps.reduce((total, gap) => total + klEstimate(estimator, gap), 0);
}

const graphForms: { readonly [K in KlEstimator]: (gap: Value) => Value } = {
  k1: (gap) => gap,
  k2: (gap) => mul(mul(gap, gap), 0.5),
  k3: (gap) => add(sub(exp(neg(gap)), 1), gap),
};

/** As `klEstimate`, on values of any one shape. */
export function klGraph(estimator: KlEstimator, logprobs: Value, refLogprobs: Value): Value {
  return graphForms[estimator](clip(sub(logprobs, refLogprobs), -MAX_LOG_RATIO, MAX_LOG_RATIO));
}
