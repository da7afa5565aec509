/** Fills the defaults of a GRPO stage. */
import type { ResolvedGrpo } from "../resolved.ts";
import type { GrpoSpec } from "../run-file.ts";
import { fillRollouts } from "./fill-rollouts.ts";
import type { Scope } from "./origins.ts";
import { bySize, type RowContext } from "./stage-defaults.ts";

export function fillGrpo(grpo: GrpoSpec, at: Scope, context: RowContext): ResolvedGrpo {
  const advantage = at.fill("advantage", grpo.advantage, "grpo");
  const rollouts = fillRollouts(grpo, at, {
    ...context,
    groupSize: 8,
    epochs: 1,
    miniBatches: 1,
    aggregation: advantage === "dr-grpo" ? "dr-grpo" : "token-mean-global",
    learningRate: bySize(context, [1e-4, 5e-5, 1e-6]),
  });
  return { ...rollouts, advantage, kl: fillKl(grpo.kl, at.inside("kl")) };
}

/** In the loss k3 (low variance, differentiable) with DeepSeekMath's 0.04; in the reward k1, detached, with 0.01. */
const KL_DEFAULTS = {
  none: { estimator: "k3", coefficient: 0 },
  loss: { estimator: "k3", coefficient: 0.04 },
  reward: { estimator: "k1", coefficient: 0.01 },
} as const;

function fillKl(kl: GrpoSpec["kl"], at: Scope): ResolvedGrpo["kl"] {
  const placement = at.fill("placement", kl?.placement, "loss");
  const defaults = KL_DEFAULTS[placement];
  return {
    placement,
    estimator: at.derive("estimator", kl?.estimator, defaults.estimator, "placement"),
    coefficient: at.derive("coefficient", kl?.coefficient, defaults.coefficient, "placement"),
  };
}
