/**
 * The forward pass with a key-value cache: ids in, the probabilities of the next token out. It is nn's definition, the
 * one that is trained, with another attention. Prefill takes many positions of a few prompts and sends only the last one
 * through the head; decode takes one position of many sequences.
 *
 * Attention is ONNX Runtime's GroupQueryAttention: rotary positions, cache append and grouped heads in one node, with a
 * length of its own for each sequence. The cache is written in place: the caller binds each present output over its past.
 * It knows no slots, no samples, and how weights are attached only as far as `layout` says.
 */
import { createGraph, gather, type Graph, mul, reshape, softmax, split, type Value } from "@oarlock/onnx";
import {
  type Attention,
  type LlamaConfig,
  llamaLogits,
  llamaStack,
  rmsNorm,
  type WeightLookup,
} from "@oarlock/nn";
import { OarlockError } from "@oarlock/errors";
import { packedWeights, paddedHeadSize } from "./packed-weights.ts";
import type { WeightLayout } from "./types.ts";

export interface DecodeGraphOptions {
  readonly config: LlamaConfig;
  readonly role: "prefill" | "decode";
  readonly layout: WeightLayout;
}

/** Names of a layer's cache: inputs `key`, `value`; outputs `keyNext`, `valueNext`. [rows, kvHeads, capacity, padded size] */
export function cacheNames(layer: number): {
  key: string;
  value: string;
  keyNext: string;
  valueNext: string;
} {
  return {
    key: `key.${layer}`,
    value: `value.${layer}`,
    keyNext: `keyNext.${layer}`,
    valueNext: `valueNext.${layer}`,
  };
}

/**
 * Inputs: ids int32 [rows, tokens]; lastIndex int32 [rows] (index of the newest valid position); totalLength int32 scalar
 * (the largest lastIndex + 1; at prefill `tokens`); inverseTemperature [heads, 1]; at prefill headRows int32 [heads]
 * (indices into rows · tokens of the positions that go through the head; elsewhere heads is rows); cos, sin: `rotaryTables`.
 * Outputs: probabilities [heads, vocabulary] and the caches.
 */
export function buildDecodeGraph(options: DecodeGraphOptions): Graph {
  const { config, role, layout } = options;
  const graph = createGraph(role);
  const weights = packedInputs(graph, config, layout);
  const tokens = role === "decode" ? 1 : "tokens";
  const ids = graph.input("ids", "int32", ["rows", tokens]);
  const lastIndex = graph.input("lastIndex", "int32", ["rows"]);
  const totalLength = graph.input("totalLength", "int32", []);
  const table = ["positions", paddedHeadSize(config) / 2];
  const [cos, sin] = [graph.input("cos", "float32", table), graph.input("sin", "float32", table)];
  const cached: Cached = { lastIndex, totalLength, cos, sin };

  const stream = llamaStack({ config, weights, ids, attention: cachedAttention(graph, config, cached) }); // [rows, tokens, D]
  const last = reshape(stream, [-1, config.hiddenSize]);
  const chosen = role === "decode" ? last : gather(last, graph.input("headRows", "int32", ["heads"]), 0); // [heads, D]
  const logits = llamaLogits({ config, weights, stream: chosen }); // [heads, V]
  const inverseTemperature = graph.input("inverseTemperature", "float32", [
    role === "decode" ? "rows" : "heads",
    1,
  ]);
  graph.output("probabilities", softmax(mul(logits, inverseTemperature)));
  return graph;
}

/** The values that every layer's attention shares. */
interface Cached {
  readonly lastIndex: Value;
  readonly totalLength: Value;
  readonly cos: Value;
  readonly sin: Value;
}

function packedInputs(graph: Graph, config: LlamaConfig, layout: WeightLayout): WeightLookup {
  const declared = new Map<string, Value>();
  for (const { name, shape } of packedWeights(config)) {
    declared.set(
      name,
      layout === "inputs" ? graph.input(name, "float32", shape) : graph.initializer(name, "float32", shape),
    );
  }
  return (name) => {
    const weight = declared.get(name);
    if (weight) return weight;
    throw new OarlockError("GENERATION_WEIGHTS", `there is no packed weight ${name}`);
  };
}

/** Grouped-query attention over the cache. […, (heads + 2·kvHeads)·padded] → […, heads·padded] */
function cachedAttention(graph: Graph, config: LlamaConfig, cached: Cached): Attention {
  const { heads, kvHeads, headSize } = config;
  const shape = ["rows", kvHeads, "capacity", paddedHeadSize(config)];
  const attributes = {
    num_heads: heads,
    kv_num_heads: kvHeads,
    scale: 1 / Math.sqrt(headSize),
    do_rotary: 1 as const,
    rotary_interleaved: 0 as const,
  };
  return ({ layer, qkv, weight }) => {
    const { key, value, keyNext, valueNext } = cacheNames(layer);
    const past = [graph.input(key, "float32", shape), graph.input(value, "float32", shape)];
    const inputs = [
      ...queryKeyValue(config, weight, qkv),
      ...past,
      cached.lastIndex,
      cached.totalLength,
      cached.cos,
      cached.sin,
    ];
    const [mixed = qkv, nextKey = qkv, nextValue = qkv] = graph.add(
      "GroupQueryAttention",
      inputs,
      attributes,
    );
    graph.output(keyNext, nextKey);
    graph.output(valueNext, nextValue);
    return mixed;
  };
}

/** q, k and v for the fused node: packed in the first, unless heads are normalised one by one (Qwen3). */
function queryKeyValue(config: LlamaConfig, weight: WeightLookup, qkv: Value): (Value | undefined)[] {
  if (!config.qkNorm) return [qkv, undefined, undefined];
  const padded = paddedHeadSize(config);
  const sizes = [config.heads * padded, config.kvHeads * padded, config.kvHeads * padded];
  const [q = qkv, k = qkv, v = qkv] = split(qkv, sizes, 2);
  const epsilon = (config.rmsNormEps * config.headSize) / padded; // see headNorm of packed-weights.ts
  const normed = (x: Value, count: number, scale: Value): Value =>
    reshape(rmsNorm(reshape(x, [0, 0, count, padded]), scale, epsilon), [0, 0, count * padded]);
  return [normed(q, config.heads, weight("qNorm")), normed(k, config.kvHeads, weight("kNorm")), v];
}

/** cos and sin of position · θ^(−2i/size) for pair i; pairs that pad the head are not rotated. [positions, padded / 2] */
export function rotaryTables(
  config: LlamaConfig,
  positions: number,
): { cos: Float32Array; sin: Float32Array } {
  const half = paddedHeadSize(config) / 2;
  const cos = new Float32Array(positions * half).fill(1);
  const sin = new Float32Array(positions * half);
  for (let position = 0; position < positions; position++) {
    for (let pair = 0; pair < config.headSize / 2; pair++) {
      const angle = position * config.ropeTheta ** ((-2 * pair) / config.headSize);
      cos[position * half + pair] = Math.cos(angle);
      sin[position * half + pair] = Math.sin(angle);
    }
  }
  return { cos, sin };
}
