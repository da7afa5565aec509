/** The loss over labelled steps as part of the training graph: loss = Σ_k w_k · `stepLoss`_k. Inputs are vectors [S]; results are scalars. */
import { add, cast, greater, mul, neg, reduceSum, softplus, sub, type Value } from "@oarlock/onnx";
import type { PairLoss } from "./preference-loss.ts";

export interface ScoredSteps {
  readonly scores: Value; // [S]
  /** c, 1 for a right step. [S] */
  readonly labels: Value;
  /** What each step weighs: 1 / steps of the whole batch. [S] */
  readonly weight: Value;
}

/** The lead of a step is its score, with the sign turned where the step is wrong: it is right where that is above 0. */
export function stepLossGraph({ scores, labels, weight }: ScoredSteps): PairLoss {
  const weighted = (value: Value): Value => reduceSum(mul(value, weight));
  const loss = add(mul(labels, softplus(neg(scores))), mul(add(neg(labels), 1), softplus(scores)));
  const sign = sub(mul(cast(greater(labels, JUST_BELOW_HALF), "float32"), 2), 1);
  const lead = mul(sign, scores);
  return {
    loss: weighted(loss),
    sums: {
      accuracy: weighted(cast(greater(lead, 0), "float32")),
      lead: weighted(lead),
      score: weighted(scores),
    },
  };
}

/** The float32 before ½: a label of ½ counts as right, as it does in `isRight`. */
const JUST_BELOW_HALF = 0.5 - 2 ** -25;
