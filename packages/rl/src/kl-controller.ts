/**
 * How β, the weight of the KL penalty, moves from step to step. `fixed` keeps it; `adaptive` is the proportional controller
 * of Ziegler et al. (arXiv:1909.08593, §2.2), which holds the KL of a completion near a target:
 *
 *   β ← β · (1 + clip(KL/target − 1, ±0.2) · n/H)
 *
 * A reducer: β in, β out. Who keeps it between steps is the caller's business (T3: it belongs into the checkpoint).
 */
export const KL_CONTROLLERS = ["fixed", "adaptive"] as const;
export type KlControllerName = (typeof KL_CONTROLLERS)[number];

export interface KlController {
  readonly type: KlControllerName;
  /** KL of one completion that `adaptive` steers to, nats. */
  readonly target: number;
  /** H: samples over which β may change by a fifth. */
  readonly horizon: number;
}

export interface ObservedKl {
  /** Mean over the completions of Σ_t KL_t, nats. */
  readonly kl: number;
  /** n: completions that it is the mean of. */
  readonly samples: number;
}

/** The controller's error is cut to this share, up or down. */
const MOST_ERROR = 0.2;

const rules: {
  readonly [Name in KlControllerName]: (beta: number, controller: KlController, seen: ObservedKl) => number;
} = {
  fixed: (beta) => beta,
  adaptive(beta, { target, horizon }, { kl, samples }) {
    // Of a batch whose KL is no number nothing is learned, β neither (W3): it would be none for good.
    if (Number.isNaN(kl)) return beta;
    const error = Math.min(Math.max(kl / target - 1, -MOST_ERROR), MOST_ERROR);
    return beta * (1 + (error * samples) / horizon);
  },
};

/** β for the next step. */
export function nextKlCoefficient(beta: number, controller: KlController, seen: ObservedKl): number {
  return rules[controller.type](beta, controller, seen);
}
