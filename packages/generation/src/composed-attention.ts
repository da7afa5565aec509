/**
 * Attention over the cache in plain operators, for providers without GroupQueryAttention in float32 (CUDA). The same numbers up to
 * rounding: rotary positions, cache append, and query heads that share a key-value head stacked along time, so that keys and values
 * are never repeated.
 *
 * B: rows, T: tokens of a row (1 when decoding), L: positions of the cache (T at prefill), H, KV: heads, G = H/KV, S: padded head size.
 */
import type { LlamaConfig } from "@oarlock/nn";
import {
  add,
  cast,
  expandLike,
  fusedMatMul,
  type Graph,
  lessOrEqual,
  matMul,
  reshape,
  softmax,
  transpose,
  type Value,
  where,
} from "@oarlock/onnx";
import { paddedHeadSize } from "./packed-weights.ts";

/** Scores of hidden keys: e to this is 0. */
const HIDDEN = -1e30;

/** What all layers share, made once for a graph. */
export interface Placed {
  /** Of each token, int64 [B, T]. */
  readonly positions: Value;
  /** Which keys a stacked query sees, bool, broadcasts to [B, KV, G·T, L]. */
  readonly visible: Value;
  /** Index of the first cache entry that is written, int64 [B]; where the whole cache is written, none. */
  readonly writeAt: Value | undefined;
}

/** Declares the input `places`, int64 [L] = 0, 1, …. `lastIndex` int32 [B]; `ids` [B, T]. */
export function placed(
  graph: Graph,
  config: LlamaConfig,
  { role, lastIndex, ids }: { role: "prefill" | "decode"; lastIndex: Value; ids: Value },
): Placed {
  if (role === "decode") {
    const places = graph.input("places", "int64", ["capacity"]);
    const positions = reshape(cast(lastIndex, "int64"), [-1, 1]);
    const visible = lessOrEqual(reshape(places, [1, 1, 1, -1]), reshape(positions, [-1, 1, 1, 1]));
    return { positions, visible, writeAt: reshape(positions, [-1]) };
  }
  const places = graph.input("places", "int64", ["tokens"]);
  const group = config.heads / config.kvHeads;
  const none = reshape(graph.integers(Array.from({ length: group }, () => 0)), [-1, 1, 1]);
  const byQuery = add(reshape(places, [1, -1, 1]), none); // [G, T, 1]: a row for each stacked query
  return {
    positions: expandLike(reshape(places, [1, -1]), ids),
    visible: reshape(lessOrEqual(reshape(places, [1, 1, -1]), byQuery), [-1, 0]), // [G·T, T]
    writeAt: undefined,
  };
}

export interface AttentionParts {
  /** [B, T, H·S], [B, T, KV·S], [B, T, KV·S] */
  readonly q: Value;
  readonly k: Value;
  readonly v: Value;
  /** [B, KV, L, S] */
  readonly pastKey: Value;
  readonly pastValue: Value;
  /** Rotary tables, [positions, S/2] */
  readonly cos: Value;
  readonly sin: Value;
}

/** → [B, T, H·S], and the cache with this call's keys and values in it. */
export function composedAttention(
  config: LlamaConfig,
  { q, k, v, pastKey, pastValue, cos, sin }: AttentionParts,
  { positions, visible, writeAt }: Placed,
): readonly [Value, Value, Value] {
  const { heads, kvHeads, headSize } = config;
  const size = paddedHeadSize(config);
  const byHead = (x: Value, count: number): Value => transpose(reshape(x, [0, 0, count, size]), [0, 2, 1, 3]); // [B, count, T, S]
  const rotated = (x: Value): Value =>
    x.graph.one("RotaryEmbedding", [x, cos, sin, positions], { interleaved: 0 });
  const appended = (past: Value, update: Value): Value =>
    writeAt === undefined
      ? update
      : past.graph.one("TensorScatter", [past, update, writeAt], { axis: -2, mode: "linear" });
  const keys = appended(pastKey, rotated(byHead(k, kvHeads)));
  const values = appended(pastValue, byHead(v, kvHeads));
  const queries = reshape(rotated(byHead(q, heads)), [0, kvHeads, -1, size]); // [B, KV, G·T, S]
  const scores = fusedMatMul(queries, keys, { transB: 1, alpha: 1 / Math.sqrt(headSize) }); // [B, KV, G·T, L]
  const mixed = matMul(softmax(where(visible, scores, HIDDEN)), values);
  const byToken = transpose(reshape(mixed, [0, heads, -1, size]), [0, 2, 1, 3]); // [B, T, H, S]
  return [reshape(byToken, [0, 0, heads * size]), keys, values];
}
