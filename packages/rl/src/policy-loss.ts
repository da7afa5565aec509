/**
 * The clipped surrogate of PPO (arXiv:1707.06347, eq. 7), one token at a time, with asymmetric bounds (DAPO) and the
 * dual clip (arXiv:1912.09729), in plain numbers: the reference that the graph form is held against.
 */
import { MAX_LOG_RATIO } from "./kl.ts";

export interface ClipBounds {
  /** Ratios below 1 − low are clipped. */
  readonly low: number;
  /** Ratios above 1 + high are clipped. */
  readonly high: number;
  /** c of the dual clip: with a negative advantage the loss never exceeds c · |A|. 0 = off. */
  readonly dual?: number;
}

export interface SurrogateToken {
  /** log π_θ of the token, nats. */
  readonly logprob: number;
  /** log π_old of the token, nats. */
  readonly oldLogprob: number;
  readonly advantage: number;
}

/** π_θ / π_old, its logarithm clamped. */
export function policyRatio({ logprob, oldLogprob }: SurrogateToken): number {
  return Math.exp(Math.min(Math.max(logprob - oldLogprob, -MAX_LOG_RATIO), MAX_LOG_RATIO));
}

/** −min(r·A, clip(r)·A); for A < 0 with a dual clip, −max(that minimum, c·A). To be minimised. */
export function surrogateLoss(token: SurrogateToken, { low, high, dual = 0 }: ClipBounds): number {
  const { advantage } = token;
  const ratio = policyRatio(token);
  const clipped = Math.min(Math.max(ratio, 1 - low), 1 + high);
  const gain = Math.min(ratio * advantage, clipped * advantage);
  return dual > 0 && advantage < 0 ? -Math.max(gain, dual * advantage) : -gain;
}
