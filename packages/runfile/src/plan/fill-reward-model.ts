/** Fills the defaults of a reward-model stage. */
import type { ResolvedRewardModel } from "../resolved.ts";
import type { RewardModelSpec } from "../run-file.ts";
import type { RewardLoss } from "../vocabulary.ts";
import { fillData } from "./fill-data.ts";
import { fillStart } from "./fill-start.ts";
import type { Scope } from "./origins.ts";
import {
  bySize,
  fillOptimizer,
  lengthFor,
  microBatch,
  MOST_LENGTH,
  positions,
  type RowContext,
  warmUp,
} from "./stage-defaults.ts";

/** Texts that are read together. */
const ANSWERS: { readonly [L in RewardLoss]: number } = {
  "bradley-terry": 2,
  "plackett-luce": 4,
  "all-pairs": 4,
  "binary-cross-entropy": 1,
};

export function fillRewardModel(spec: RewardModelSpec, at: Scope, context: RowContext): ResolvedRewardModel {
  const steps = at.given("steps", spec.steps);
  const batchSize = at.fill("batchSize", spec.batchSize, 32);
  const longest = Math.max(2, lengthFor(context.rows, Math.min(MOST_LENGTH, positions(context))));
  const loss = at.fill("loss", spec.loss, "bradley-terry");
  const answers = at.derive("answers", spec.answers, ANSWERS[loss], "loss");
  const why = "the longest row and the model's positions";
  const maxLength = at.derive("maxLength", spec.maxLength, longest, why);
  return {
    model: fillStart(spec.model, at, context),
    data: fillData(spec.data, at.inside("data")),
    steps,
    batchSize,
    microBatchSize: microBatch(spec.microBatchSize, at, { batch: batchSize, length: answers * maxLength }),
    maxLength,
    loss,
    answers,
    // Only where it says something: a plan without it is the plan that it was.
    ...(loss === "binary-cross-entropy" ? { stepEnd: at.fill("stepEnd", spec.stepEnd, "\n") } : {}),
    heldOut: at.fill("heldOut", spec.heldOut, 0.1),
    fold: at.fill("fold", spec.fold, 0),
    margin: at.fill("margin", spec.margin, 0),
    centering: at.derive("centering", spec.centering, loss === "bradley-terry" ? 0.01 : 0, "loss"),
    minimumAccuracy: at.fill("minimumAccuracy", spec.minimumAccuracy, 0.5),
    optimizer: fillOptimizer(spec.optimizer, at.inside("optimizer"), {
      learningRate: context.fresh ? 1e-3 : bySize(context, [3e-4, 1e-4, 1e-5]),
      warmupSteps: warmUp(steps / 20, steps),
      schedule: "cosine",
    }),
  };
}
