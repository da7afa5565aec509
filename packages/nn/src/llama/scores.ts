/** The scalar head: one score for each token of the residual stream. */
import { fusedMatMul, squeeze, type Value } from "@oarlock/onnx";
import { type HeadOptions, rmsNorm } from "./stack.ts";

/** The final norm and the score head: [M, D] → [M]. */
export function llamaScores({ config, weights, stream }: Omit<HeadOptions, "temperature">): Value {
  const normed = rmsNorm(stream, weights("finalNorm"), config.rmsNormEps);
  return squeeze(fusedMatMul(normed, weights("score"), { transB: 1 }), [1]); // [M, 1] → [M]
}
