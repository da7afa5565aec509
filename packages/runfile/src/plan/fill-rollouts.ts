/** Fills what stages that learn from their own samples have in common. */
import type { ResolvedKl, ResolvedRollouts } from "../resolved.ts";
import type { KlSpec, RolloutSpec } from "../run-file.ts";
import type { Aggregation, ComputedBy, KlEstimator, KlPlacement } from "../vocabulary.ts";
import { fillData, fillRewards } from "./fill-data.ts";
import { fillGuards } from "./fill-guards.ts";
import { fillStart } from "./fill-start.ts";
import { fillUntil } from "./fill-until.ts";
import type { Scope } from "./origins.ts";
import {
  fillOptimizer,
  fillSampling,
  lengthFor,
  microBatch,
  MOST_LENGTH,
  positions,
  type RowContext,
  warmUp,
} from "./stage-defaults.ts";

/** Defaults that the algorithm decides. */
export interface RolloutDefaults extends RowContext {
  readonly groupSize: number;
  readonly epochs: number;
  /** Updates of one pass over the batch. */
  readonly miniBatches: number;
  readonly aggregation: Aggregation;
  readonly learningRate: number;
}

/** In the loss k3, low in variance and differentiable; in the reward k1, which is detached. */
const KL_ESTIMATOR: { readonly [P in KlPlacement]: KlEstimator } = { none: "k3", loss: "k3", reward: "k1" };

export interface KlDefaults {
  readonly placement: KlPlacement;
  readonly coefficient: { readonly [P in KlPlacement]: number };
}

export function fillKl(kl: KlSpec | undefined, at: Scope, defaults: KlDefaults): ResolvedKl {
  const placement = at.fill("placement", kl?.placement, defaults.placement);
  return {
    placement,
    estimator: at.derive("estimator", kl?.estimator, KL_ESTIMATOR[placement], "placement"),
    coefficient: at.derive("coefficient", kl?.coefficient, defaults.coefficient[placement], "placement"),
  };
}

/** Only where actors compute: a plan without it is the plan that it was. */
export function computedByActors(
  block: { readonly computedBy?: ComputedBy | undefined } | undefined,
  at: Scope,
): { readonly computedBy: ComputedBy } | undefined {
  return block?.computedBy === "actors"
    ? { computedBy: at.given("computedBy", block.computedBy) }
    : undefined;
}

export function fillRollouts(
  spec: RolloutSpec,
  at: Scope,
  defaults: RolloutDefaults,
): Omit<ResolvedRollouts, "kl"> {
  const steps = at.given("steps", spec.steps);
  const promptsPerStep = at.fill("promptsPerStep", spec.promptsPerStep, 32);
  const groupSize = at.fill("groupSize", spec.groupSize, defaults.groupSize);
  const sampling = fillSampling(spec.sampling, at.inside("sampling"), defaults);
  const room = Math.max(1, Math.min(MOST_LENGTH, positions(defaults)) - sampling.maxNewTokens);
  const longest = lengthFor(defaults.rows, room);
  const why = "the longest prompt and the model's positions";
  const maxPromptLength = at.derive("maxPromptLength", spec.maxPromptLength, longest, why);
  const length = maxPromptLength + sampling.maxNewTokens;
  const batch = Math.max(1, Math.floor((promptsPerStep * groupSize) / defaults.miniBatches));
  const rewards = fillRewards(spec.rewards, at.inside("rewards"));
  const reference = computedByActors(spec.reference, at.inside("reference"));
  const epochs = at.fill("epochs", spec.epochs, defaults.epochs);
  return {
    model: fillStart(spec.model, at, defaults),
    data: fillData(spec.data, at.inside("data")),
    steps,
    promptsPerStep,
    groupSize,
    epochs,
    microBatchSize: microBatch(spec.microBatchSize, at, { batch, length }),
    maxPromptLength,
    sampling,
    rewards,
    clip: {
      low: at.inside("clip").fill("low", spec.clip?.low, 0.2),
      high: at.inside("clip").fill("high", spec.clip?.high, 0.2),
    },
    dualClip: at.fill("dualClip", spec.dualClip, 0),
    entropyCoefficient: at.fill("entropyCoefficient", spec.entropyCoefficient, 0),
    aggregation: at.derive("aggregation", spec.aggregation, defaults.aggregation, "the algorithm"),
    ...(reference === undefined ? {} : { reference }),
    guards: fillGuards(spec.guards ?? [], at.inside("guards"), rewards),
    ...fillUntil(spec.until, at),
    optimizer: fillOptimizer(spec.optimizer, at.inside("optimizer"), {
      learningRate: defaults.learningRate,
      warmupSteps: warmUp(Math.min(10, steps / 10), steps * epochs),
      schedule: "constant",
    }),
  };
}
