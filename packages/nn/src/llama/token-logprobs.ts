/**
 * The log-probability of each target token, and the entropy of the distribution it was taken from.
 *
 * Backward by hand: d log p_t / d z = onehot_t − p, and dH / d z = −p · (log p + H); neither needs a gradient of the
 * size of the logits from anywhere else.
 */
import { defineGradient } from "@oarlock/autodiff";
import {
  add,
  exp,
  gatherElements,
  logSoftmax,
  mul,
  neg,
  reduceSum,
  scatterAdd,
  squeeze,
  unsqueeze,
  type Value,
} from "@oarlock/onnx";

export interface TokenLogprobs {
  /** log p(target). [M] */
  readonly logprobs: Value;
  /** −Σ p log p, in nats. [M] */
  readonly entropy: Value;
}

/** `logits` [M, V], `targets` int64 [M]. */
export function tokenLogprobs(logits: Value, targets: Value): TokenLogprobs {
  const { graph } = logits;
  const logP = logSoftmax(logits); // [M, V]
  const p = exp(logP);
  const column = unsqueeze(targets, [1]); // [M, 1]
  const logprobs = squeeze(gatherElements(logP, column, 1), [1]);
  const entropy = neg(reduceSum(mul(p, logP), { axes: [1] }));
  defineGradient(graph, {
    outputs: [logprobs, entropy],
    inputs: [logits],
    derive: ([dLogprobs, dEntropy]) => [
      () => {
        const ofTarget = dLogprobs && targetGradient(p, column, unsqueeze(dLogprobs, [1]));
        const ofEntropy =
          dEntropy && mul(mul(p, add(logP, unsqueeze(entropy, [1]))), neg(unsqueeze(dEntropy, [1])));
        if (ofTarget && ofEntropy) return add(ofTarget, ofEntropy);
        return ofTarget ?? ofEntropy ?? mul(logits, 0);
      },
    ],
  });
  return { logprobs, entropy };
}

/** onehot · d − p · d, with d [M, 1]. */
function targetGradient(p: Value, targets: Value, d: Value): Value {
  return scatterAdd(mul(p, neg(d)), targets, d, 1);
}
