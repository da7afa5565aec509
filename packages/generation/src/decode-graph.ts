/**
 * The forward pass with a key-value cache: ids in, the probabilities of the next token out. It is nn's definition, the
 * one that is trained, with another attention. Prefill takes many positions of a few prompts and sends only the last one
 * through the head; decode takes one position of many sequences.
 *
 * Attention is ONNX Runtime's GroupQueryAttention: cache append and grouped heads in one node, with a length of its own for each
 * sequence; or plain operators where the provider lacks it. The cache is written in place: the caller binds each present output over
 * its past.
 * It knows no slots, no samples, and how weights are attached only as far as `layout` says.
 */
import {
  createGraph,
  gather,
  type Graph,
  mul,
  type OpName,
  reshape,
  softmax,
  split,
  type Value,
} from "@oarlock/onnx";
import {
  type Attention,
  type LlamaConfig,
  llamaLogits,
  llamaStack,
  rmsNorm,
  rotaryInputs,
  type RotaryTables,
  rotate,
  type WeightLookup,
} from "@oarlock/nn";
import { OarlockError } from "@oarlock/errors";
import { composedAttention, placed, type Placed, positionsOf } from "./composed-attention.ts";
import { packedWeights, paddedHeadSize } from "./packed-weights.ts";
import type { WeightLayout } from "./types.ts";

export interface DecodeGraphOptions {
  readonly config: LlamaConfig;
  readonly role: "prefill" | "decode";
  readonly layout: WeightLayout;
  /** Operators that the provider lacks. Default: none. */
  readonly without?: readonly OpName[];
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
 * Inputs: ids int32 [rows, tokens]; lastIndex int32 [rows] (index of the newest valid position); totalLength int32 scalar (the
 * largest lastIndex + 1; at prefill `tokens`), not in plain operators; places int64 = 0, 1, … ([tokens] at prefill, in plain operators
 * [capacity] when decoding); inverseTemperature [heads, 1]; at prefill headRows int32 [heads]
 * (indices into rows · tokens of the positions that go through the head; elsewhere heads is rows); cos, sin: `rotaryTables` of padded heads.
 * Outputs: probabilities [heads, vocabulary] and the caches.
 */
export function buildDecodeGraph(options: DecodeGraphOptions): Graph {
  const { config, role, layout, without } = options;
  const graph = createGraph(role, without);
  const weights = packedInputs(graph, config, layout);
  const tokens = role === "decode" ? 1 : "tokens";
  const ids = graph.input("ids", "int32", ["rows", tokens]);
  const lastIndex = graph.input("lastIndex", "int32", ["rows"]);
  const tables = rotaryInputs(graph, { headSize: paddedHeadSize(config) });
  let declared: Value | undefined;
  const size = role === "decode" ? "capacity" : "tokens";
  const places = (): Value => (declared ??= graph.input("places", "int64", [size]));
  const reading = { role, lastIndex, ids, places };
  const attention = graph.without.has("GroupQueryAttention")
    ? composed(graph, config, tables, placed(graph, config, reading))
    : fused(graph, config, {
        tables,
        lastIndex,
        positions: positionsOf(reading),
        totalLength: graph.input("totalLength", "int32", []),
      });

  const stream = llamaStack({ config, weights, ids, attention }); // [rows, tokens, D]
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

/** A layer's cache: its inputs, and what names its outputs. */
function cacheOf(
  graph: Graph,
  config: LlamaConfig,
  layer: number,
): { past: [Value, Value]; keep: (key: Value, value: Value) => void } {
  const { key, value, keyNext, valueNext } = cacheNames(layer);
  const shape = ["rows", config.kvHeads, "capacity", paddedHeadSize(config)];
  return {
    past: [graph.input(key, "float32", shape), graph.input(value, "float32", shape)],
    keep(nextKey, nextValue) {
      graph.output(keyNext, nextKey);
      graph.output(valueNext, nextValue);
    },
  };
}

/** Grouped-query attention over the cache in plain operators. […, (heads + 2·kvHeads)·padded] → […, heads·padded] */
function composed(graph: Graph, config: LlamaConfig, tables: RotaryTables, places: Placed): Attention {
  return ({ layer, qkv, weight }) => {
    const { past, keep } = cacheOf(graph, config, layer);
    const [q, k, v] = separated(config, weight, qkv);
    const [pastKey, pastValue] = past;
    const [mixed, key, value] = composedAttention(config, { q, k, v, pastKey, pastValue, tables }, places);
    keep(key, value);
    return mixed;
  };
}

/** What the fused nodes of all layers share. */
interface FusedInputs {
  readonly tables: RotaryTables;
  readonly lastIndex: Value;
  readonly totalLength: Value;
  /** Of each token, int64 [rows, tokens]. */
  readonly positions: Value;
}

/** The same as one fused node, behind the rotation: it could rotate too, but only heads of 16, 32, … */
function fused(graph: Graph, config: LlamaConfig, shared: FusedInputs): Attention {
  const { heads, kvHeads, headSize } = config;
  const attributes = {
    num_heads: heads,
    kv_num_heads: kvHeads,
    scale: 1 / Math.sqrt(headSize),
  };
  return ({ layer, qkv, weight }) => {
    const { past, keep } = cacheOf(graph, config, layer);
    const [mixed = qkv, nextKey = qkv, nextValue = qkv] = graph.add(
      "GroupQueryAttention",
      [...rotated(config, weight, qkv, shared), ...past, shared.lastIndex, shared.totalLength],
      attributes,
    );
    keep(nextKey, nextValue);
    return mixed;
  };
}

/** q and k, rotated, and v. [rows, tokens, heads · padded] each */
function rotated(
  config: LlamaConfig,
  weight: WeightLookup,
  qkv: Value,
  { tables, positions }: FusedInputs,
): [Value, Value, Value] {
  const { heads, kvHeads } = config;
  const padded = paddedHeadSize(config);
  const turn = (x: Value, sideBySide: number): Value => rotate(x, { tables, positions, config, sideBySide });
  if (config.qkNorm) {
    const [q, k, v] = separated(config, weight, qkv);
    return [turn(q, heads), turn(k, kvHeads), v];
  }
  const [both = qkv, v = qkv] = split(qkv, [(heads + kvHeads) * padded, kvHeads * padded], 2);
  const [q = qkv, k = qkv] = split(turn(both, heads + kvHeads), [heads * padded, kvHeads * padded], 2);
  return [q, k, v];
}

/** q, k and v one by one, their heads normalised where the model does that (Qwen3). */
function separated(config: LlamaConfig, weight: WeightLookup, qkv: Value): [Value, Value, Value] {
  const padded = paddedHeadSize(config);
  const sizes = [config.heads * padded, config.kvHeads * padded, config.kvHeads * padded];
  const [q = qkv, k = qkv, v = qkv] = split(qkv, sizes, 2);
  if (!config.qkNorm) return [q, k, v];
  const epsilon = (config.rmsNormEps * config.headSize) / padded; // see headNorm of packed-weights.ts
  const normed = (x: Value, count: number, scale: Value): Value =>
    reshape(rmsNorm(reshape(x, [0, 0, count, padded]), scale, epsilon), [0, 0, count * padded]);
  return [normed(q, config.heads, weight("qNorm")), normed(k, config.kvHeads, weight("kNorm")), v];
}
