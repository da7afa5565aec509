/** The critic's loss as part of the training graph: loss = Σ_t w_t · `valueLoss`_t. All inputs have one shape; the result is a scalar. */
import { add, cast, clip, greater, max, mul, reduceSum, sub, type Value } from "@oarlock/onnx";

export interface CriticTokens {
  readonly values: Value;
  /** V before the first update of the batch; read only with a clip. */
  readonly oldValues: Value;
  readonly returns: Value;
  /** Mask over the batch's denominator; 0 where a token is not trained. */
  readonly weight: Value;
}

export interface CriticLoss {
  /** The scalar to minimise. */
  readonly loss: Value;
  /** Σ weight · quantity. */
  readonly sums: {
    readonly value: Value;
    /** Tokens whose clipped error was the greater one, where there is a clip. */
    readonly valueClipFraction?: Value;
  };
}

/** Adds the loss to the graph of its inputs; `bound` is ε, 0: no clip. */
export function criticLoss({ values, oldValues, returns, weight }: CriticTokens, bound: number): CriticLoss {
  const weighted = (value: Value): Value => reduceSum(mul(value, weight));
  const square = (value: Value): Value => mul(value, value);
  const free = square(sub(values, returns));
  const value = weighted(values);
  if (bound <= 0) return { loss: weighted(mul(free, 0.5)), sums: { value } };
  const moved = add(oldValues, clip(sub(values, oldValues), -bound, bound));
  const bounded = square(sub(moved, returns));
  return {
    loss: weighted(mul(max(free, bounded), 0.5)),
    sums: { value, valueClipFraction: weighted(cast(greater(bounded, free), "float32")) },
  };
}
