/** The dimensions and conventions of a Llama-family model: Llama, SmolLM, Qwen2 (biases), Qwen3 (q/k norms). */
import { OarlockError } from "@oarlock/errors";

/** Which elements of a head are rotated together: i with i + size/2 (Hugging Face), or 2i with 2i + 1 (llama2.c). */
export type RopeConvention = "half-split" | "interleaved";

/** What comes out of a token: a logit for every word of the vocabulary, or one score. */
export type LlamaHead = "logits" | "score" | "both";

export interface LlamaConfig {
  readonly vocabSize: number;
  /** D, the width of the residual stream. */
  readonly hiddenSize: number;
  /** F, the width of the feed-forward block. */
  readonly intermediateSize: number;
  readonly layers: number;
  /** H, query heads. */
  readonly heads: number;
  /** KV, key-value heads; divides `heads`. */
  readonly kvHeads: number;
  /** S, even. Not always hiddenSize / heads (Qwen3). */
  readonly headSize: number;
  readonly ropeTheta: number;
  readonly ropeConvention: RopeConvention;
  readonly rmsNormEps: number;
  /** The longest sequence that the rotary tables cover. */
  readonly maxPositions: number;
  /** The head is the embedding matrix. */
  readonly tiedEmbeddings: boolean;
  /** Biases on q, k and v (Qwen2). */
  readonly qkvBias: boolean;
  /** RMSNorm over each head of q and k, before the rotation (Qwen3). */
  readonly qkNorm: boolean;
  /** Default "logits": a policy. "score": a reward model or a critic. "both": a policy with a value head on its trunk. */
  readonly head?: LlamaHead;
}

const sizes = [
  "vocabSize",
  "hiddenSize",
  "intermediateSize",
  "layers",
  "heads",
  "kvHeads",
  "headSize",
  "maxPositions",
] as const;

/** Returns `config` as it is. Throws `NN_CONFIG`, naming the field, where its numbers make no model. */
export function checkConfig(config: LlamaConfig): LlamaConfig {
  const refuse = (field: keyof LlamaConfig, accepted: string): never => {
    throw new OarlockError("NN_CONFIG", `${field} is ${String(config[field])}; accepted: ${accepted}`);
  };
  for (const field of sizes) {
    if (!Number.isSafeInteger(config[field]) || config[field] < 1) refuse(field, "a whole number from 1 on");
  }
  if (config.heads % config.kvHeads !== 0) refuse("kvHeads", `a divisor of heads (${config.heads})`);
  if (config.headSize % 2 !== 0) refuse("headSize", "an even number");
  if (!(config.ropeTheta > 0)) refuse("ropeTheta", "a number above 0");
  if (!(config.rmsNormEps >= 0)) refuse("rmsNormEps", "a number from 0 on");
  return config;
}
