/** Fills the defaults of a GRPO stage. */
import type { ResolvedGrpo } from "../resolved.ts";
import type { GrpoSpec } from "../run-file.ts";
import { fillKl, fillRollouts } from "./fill-rollouts.ts";
import type { Scope } from "./origins.ts";
import { bySize, type RowContext } from "./stage-defaults.ts";

/** DeepSeekMath's 0.04 in the loss. */
const KL_DEFAULTS = { placement: "loss", coefficient: { none: 0, loss: 0.04, reward: 0.01 } } as const;

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
  return { ...rollouts, advantage, kl: fillKl(grpo.kl, at.inside("kl"), KL_DEFAULTS) };
}
