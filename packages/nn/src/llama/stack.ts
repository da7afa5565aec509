/**
 * The Llama-family network, from token ids to logits, with a hole where attention over other tokens goes: training fills
 * it with products and a causal mask, generation with a key-value cache. Everything here works on each token by itself,
 * so ids may have any shape.
 *
 * D: hidden size, F: intermediate size, S: head size, V: vocabulary; […] the shape of the ids.
 */
import {
  add,
  fusedMatMul,
  gather,
  mul,
  reciprocal,
  reduceMean,
  silu,
  split,
  sqrt,
  type Value,
} from "@oarlock/onnx";
import type { LlamaConfig } from "../config.ts";
import type { WeightLookup } from "./weights.ts";

/** What one layer's attention is given. */
export interface AttentionBlock {
  readonly layer: number;
  /** Queries, keys and values side by side. […, (heads + 2·kvHeads)·S] */
  readonly qkv: Value;
  /** This layer's weights by short name: "qNorm", "kNorm". */
  readonly weight: WeightLookup;
}

/** Mixes tokens: […, (heads + 2·kvHeads)·S] → […, heads·S]. */
export type Attention = (block: AttentionBlock) => Value;

export interface StackOptions {
  readonly config: LlamaConfig;
  readonly weights: WeightLookup;
  /** Token ids, int32 or int64. […] */
  readonly ids: Value;
  readonly attention: Attention;
}

/** The residual stream after the last layer, before the final norm. […, D] */
export function llamaStack({ config, weights, ids, attention }: StackOptions): Value {
  let stream = gather(weights("embedding"), ids, 0); // […, D]
  for (let layer = 0; layer < config.layers; layer++) {
    const weight: WeightLookup = (name) => weights(`layer${layer}.${name}`);
    const normed = rmsNorm(stream, weight("inputNorm"), config.rmsNormEps);
    const qkv = project(normed, weight("qkv"), config.qkvBias ? weight("qkvBias") : undefined);
    stream = add(stream, project(attention({ layer, qkv, weight }), weight("output")));
    stream = add(stream, feedForward(rmsNorm(stream, weight("attentionNorm"), config.rmsNormEps), weight));
  }
  return stream;
}

export interface HeadOptions {
  readonly config: LlamaConfig;
  readonly weights: WeightLookup;
  /** The residual stream of the tokens to predict from. [M, D] */
  readonly stream: Value;
  /** Logits are divided by it. Default 1. */
  readonly temperature?: number;
}

/** The final norm and the head. [M, V] */
export function llamaLogits({ config, weights, stream, temperature = 1 }: HeadOptions): Value {
  const normed = rmsNorm(stream, weights("finalNorm"), config.rmsNormEps);
  const head = weights(config.tiedEmbeddings ? "embedding" : "head");
  return fusedMatMul(normed, head, { transB: 1, alpha: 1 / temperature });
}

/** x / √(mean(x²) + ε) · scale over the last axis (arXiv:1910.07467). */
export function rmsNorm(x: Value, scale: Value, epsilon: number): Value {
  if (x.graph.without.has("SimplifiedLayerNormalization")) {
    const meanSquare = reduceMean(mul(x, x), { axes: [-1], keepdims: true });
    return mul(mul(x, reciprocal(sqrt(add(meanSquare, epsilon)))), scale);
  }
  const [normed = x] = x.graph.add("SimplifiedLayerNormalization", [x, scale], { epsilon });
  return normed;
}

/** x · Wᵀ + b, with W in the orientation of checkpoints, [out, in]. */
function project(x: Value, weight: Value, bias?: Value): Value {
  const y = fusedMatMul(x, weight, { transB: 1 });
  return bias ? add(y, bias) : y;
}

/** SwiGLU: down(silu(gate(x)) ⊙ up(x)) (arXiv:2002.05202). […, D] → […, D] */
function feedForward(x: Value, weight: WeightLookup): Value {
  const both = project(x, weight("gateUp")); // […, 2F]
  const width = Number(both.shape.at(-1)) / 2;
  const [gate = both, up = both] = split(both, [width, width], -1);
  return project(mul(silu(gate), up), weight("down"));
}
