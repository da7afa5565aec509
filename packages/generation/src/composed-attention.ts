/**
 * Attention over the cache in plain operators, for providers without GroupQueryAttention in float32 (CUDA). The same numbers up to
 * rounding: rotary positions, cache append, and query heads that share a key-value head stacked along time, so that keys and values
 * are never repeated.
 *
 * B: rows, T: tokens of a row (1 when decoding), L: positions of the cache (T at prefill), H, KV: heads, G = H/KV, S: padded head size.
 */
import { type LlamaConfig, type RotaryTables, rotate } from "@oarlock/nn";
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

/** Which tokens a call of the graph reads. */
export interface Reading {
  readonly role: "prefill" | "decode";
  /** int32 [B] */
  readonly lastIndex: Value;
  /** [B, T] */
  readonly ids: Value;
  /** The input `places`, int64 = 0, 1, …: [T] at prefill, else [L]. Declared by the first who asks for it. */
  readonly places: () => Value;
}

/** The position of each token, int64 [B, T]. */
export function positionsOf({ role, lastIndex, ids, places }: Reading): Value {
  return role === "decode"
    ? reshape(cast(lastIndex, "int64"), [-1, 1])
    : expandLike(reshape(places(), [1, -1]), ids);
}

/** The same for all layers of `graph`. */
export function placed(graph: Graph, config: LlamaConfig, reading: Reading): Placed {
  const positions = positionsOf(reading);
  const places = reading.places();
  if (reading.role === "decode") {
    const visible = lessOrEqual(reshape(places, [1, 1, 1, -1]), reshape(positions, [-1, 1, 1, 1]));
    return { positions, visible, writeAt: reshape(positions, [-1]) };
  }
  const group = config.heads / config.kvHeads;
  const none = reshape(graph.integers(Array.from({ length: group }, () => 0)), [-1, 1, 1]);
  const byQuery = add(reshape(places, [1, -1, 1]), none); // [G, T, 1]: a row for each stacked query
  const visible = reshape(lessOrEqual(reshape(places, [1, 1, -1]), byQuery), [-1, 0]); // [G·T, T]
  return { positions, visible, writeAt: undefined };
}

export interface AttentionParts {
  /** [B, T, H·S], [B, T, KV·S], [B, T, KV·S] */
  readonly q: Value;
  readonly k: Value;
  readonly v: Value;
  /** [B, KV, L, S] */
  readonly pastKey: Value;
  readonly pastValue: Value;
  /** [positions, S/2] */
  readonly tables: RotaryTables;
}

/** → [B, T, H·S], and the cache with this call's keys and values in it. */
export function composedAttention(
  config: LlamaConfig,
  { q, k, v, pastKey, pastValue, tables }: AttentionParts,
  { positions, visible, writeAt }: Placed,
): readonly [Value, Value, Value] {
  const { heads, kvHeads, headSize } = config;
  const size = paddedHeadSize(config);
  const byHead = (x: Value, count: number): Value => transpose(reshape(x, [0, 0, count, size]), [0, 2, 1, 3]); // [B, count, T, S]
  const turn = (x: Value): Value => rotate(x, { tables, positions, config });
  const appended = (past: Value, update: Value): Value =>
    writeAt === undefined
      ? update
      : past.graph.one("TensorScatter", [past, update, writeAt], { axis: -2, mode: "linear" });
  const keys = appended(pastKey, turn(byHead(k, kvHeads)));
  const values = appended(pastValue, byHead(v, kvHeads));
  const queries = reshape(turn(byHead(q, heads)), [0, kvHeads, -1, size]); // [B, KV, G·T, S]
  const scores = fusedMatMul(queries, keys, { transB: 1, alpha: 1 / Math.sqrt(headSize) }); // [B, KV, G·T, L]
  const mixed = matMul(softmax(where(visible, scores, HIDDEN)), values);
  const byToken = transpose(reshape(mixed, [0, heads, -1, size]), [0, 2, 1, 3]); // [B, T, H, S]
  return [reshape(byToken, [0, 0, heads * size]), keys, values];
}
