/** Supervised fine-tuning as part of the training graph: loss = −Σ_t w_t · log π_θ(y_t), w from `tokenWeights`. */
import { mul, neg, reduceSum, type Value } from "@oarlock/onnx";

export interface SftTokens {
  /** Log-probs of the target tokens, nats, any shape. */
  readonly logprobs: Value;
  /** Same shape: mask over the batch's number of trained tokens. */
  readonly weight: Value;
}

/** The scalar to minimise: with token-mean weights, the mean negative log-likelihood in nats a token. */
export function sftLoss({ logprobs, weight }: SftTokens): Value {
  return neg(reduceSum(mul(logprobs, weight)));
}
