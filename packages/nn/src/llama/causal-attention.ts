/**
 * Grouped-query attention over whole sequences, written out for training: products, mask, softmax. Query heads that
 * share a key-value head are stacked along time, so keys and values are never repeated and each product serves a group.
 *
 * B: rows, T: tokens of a row, H: query heads, KV: key-value heads, G = H/KV, S: head size.
 */
import { defineGradient } from "@oarlock/autodiff";
import { OarlockError } from "@oarlock/errors";
import {
  add,
  concat,
  type Dim,
  fusedMatMul,
  type Graph,
  matMul,
  mul,
  reduceSum,
  reshape,
  slice,
  softmax,
  split,
  sub,
  transpose,
  type Value,
} from "@oarlock/onnx";
import { tensor } from "@oarlock/tensor";
import type { LlamaConfig } from "../config.ts";
import { rotate, type RotaryTables, rotaryTables } from "./rotary.ts";
import { type Attention, rmsNorm } from "./stack.ts";
import type { WeightLookup } from "./weights.ts";

/** Added to the scores of hidden keys: e to this is 0, and it is finite, so that no inf − inf can arise. */
const HIDDEN = -1e30;

export interface CausalAttentionOptions {
  readonly config: LlamaConfig;
  /** Rows; may have a name. */
  readonly batch: Dim;
  /** Tokens of a row. */
  readonly length: number;
  /** The position of each token, int64 [B, T]; with a prefix [P + B·T]. */
  readonly positions: Value;
  /** What is added to the scores, [T, T] or [B, 1, T, T]. Default: a token sees itself and what is before it. */
  readonly mask?: Value;
  /** P, tokens that every row begins with, computed once: they come before all rows, and B is a number. Default 0. */
  readonly prefix?: number;
}

/** The attention of the training graph: on tokens in row order, [P + B·T, (H + 2·KV)·S] → [P + B·T, H·S]. */
export function causalAttention(graph: Graph, options: CausalAttentionOptions): Attention {
  const { config, length, prefix = 0 } = options;
  if (prefix + length > config.maxPositions) {
    throw new OarlockError(
      "NN_LENGTH",
      `rows of ${prefix + length} tokens; this model takes ${config.maxPositions} (maxPositions)`,
    );
  }
  const tables = rotaryTables(graph, config, prefix + length);
  if (prefix > 0) return prefixedAttention(graph, { ...options, tables, prefix });
  const mask = options.mask ?? causalMask(graph, length);
  return ({ qkv, weight }) => {
    const parts = heads(qkv, weight, { ...options, tables });
    return byToken(attend({ ...parts, mask, config }), config, length);
  };
}

/** The prefix attends to itself once; each row to the prefix and to itself. */
function prefixedAttention(
  graph: Graph,
  options: CausalAttentionOptions & { readonly tables: RotaryTables; readonly prefix: number },
): Attention {
  const { config, batch: B, length: T, prefix: P, tables } = options;
  if (typeof B !== "number")
    throw new OarlockError("NN_LENGTH", `a prefix needs a number of rows, not "${B}"`);
  const ofPrefix = reshape(slice(options.positions, 0, 0, P), [1, P]);
  const ofRows = reshape(slice(options.positions, 0, P, P + B * T), [B, T]);
  const [prefixMask, rowMask] = [causalMask(graph, P), causalMask(graph, T, P)];
  const repeated = (x: Value): Value =>
    graph.one("Expand", [x, graph.integers([B, config.kvHeads, P, config.headSize])], {});
  return ({ qkv, weight }) => {
    const [first = qkv, rest = qkv] = split(qkv, [P, B * T], 0);
    const common = heads(first, weight, { config, length: P, positions: ofPrefix, tables });
    const own = heads(rest, weight, { config, length: T, positions: ofRows, tables });
    const rows = {
      queries: own.queries,
      keys: concat([repeated(common.keys), own.keys], 2), // [B, KV, P + T, S]
      values: concat([repeated(common.values), own.values], 2),
    };
    const mixed = byToken(attend({ ...common, mask: prefixMask, config }), config, P);
    return concat([mixed, byToken(attend({ ...rows, mask: rowMask, config }), config, T)], 0);
  };
}

/** [B, KV, G·T, S] → [B·T, H·S] */
function byToken(mixed: Value, { heads: H, headSize: S }: LlamaConfig, T: number): Value {
  return reshape(transpose(reshape(mixed, [0, H, T, S]), [0, 2, 1, 3]), [-1, H * S]);
}

/** 0 where key ≤ query, else hidden; `prefix` keys come before all queries. [T, P + T] */
export function causalMask(graph: Graph, length: number, prefix = 0): Value {
  const width = prefix + length;
  const at = (index: number): number => ((index % width) - prefix <= Math.floor(index / width) ? 0 : HIDDEN);
  const data = Float32Array.from({ length: length * width }, (_, i) => at(i));
  return graph.constant(tensor("float32", [length, width], data));
}

interface Heads {
  /** [B, KV, G·T, S] */
  readonly queries: Value;
  /** [B, KV, T, S] */
  readonly keys: Value;
  /** [B, KV, T, S] */
  readonly values: Value;
}

/** Heads apart, normalised where the model does so, and rotated. One transpose for all of them. */
function heads(
  qkv: Value,
  weight: WeightLookup,
  options: Pick<CausalAttentionOptions, "config" | "length" | "positions"> & {
    readonly tables: RotaryTables;
  },
): Heads {
  const { config, length: T, positions, tables } = options;
  const { heads: H, kvHeads: KV, headSize: S } = config;
  const byHead = transpose(reshape(qkv, [-1, T, H + 2 * KV, S]), [0, 2, 1, 3]); // [B, H + 2·KV, T, S]
  const turn = (x: Value): Value => rotate(x, { tables, positions, config });
  const stacked = (queries: Value): Value => reshape(queries, [0, KV, (H / KV) * T, S]);
  if (config.qkNorm) {
    const [q = qkv, k = qkv, values = qkv] = split(byHead, [H, KV, KV], 1);
    const queries = stacked(turn(rmsNorm(q, weight("qNorm"), config.rmsNormEps)));
    return { queries, keys: turn(rmsNorm(k, weight("kNorm"), config.rmsNormEps)), values };
  }
  const [both = qkv, values = qkv] = split(byHead, [H + KV, KV], 1);
  const [q = qkv, keys = qkv] = split(turn(both), [H, KV], 1);
  return { queries: stacked(q), keys, values };
}

interface Attend extends Heads {
  /** [T, keys] */
  readonly mask: Value;
  readonly config: LlamaConfig;
}

/**
 * O = softmax(Q·Kᵀ/√S + mask)·V. [B, KV, G·T, S]
 *
 * Backward by hand: with P the softmax, Σ_keys P·dP of a row is its O·dO (FlashAttention, arXiv:2205.14135 §B.2), so the
 * largest arrays, [T, keys] for each head, are passed over twice instead of four times.
 */
function attend({ queries: q, keys: k, values: v, mask, config }: Attend): Value {
  const { heads: H, kvHeads: KV, headSize: S } = config;
  const alpha = 1 / Math.sqrt(S);
  const [T, K] = mask.shape.slice(-2).map(Number) as [number, number];
  const scores = reshape(fusedMatMul(q, k, { transB: 1, alpha }), [0, H, T, K]);
  const p = reshape(softmax(add(scores, mask)), [0, KV, (H / KV) * T, K]); // [B, KV, G·T, K]
  const o = matMul(p, v);
  defineGradient(q.graph, {
    outputs: [o],
    inputs: [q, k, v],
    derive: ([dO = o]) => {
      let known: Value | undefined;
      const dScores = (): Value => {
        const rowSum = reduceSum(mul(dO, o), { axes: [-1], keepdims: true }); // [B, KV, G·T, 1]
        known ??= mul(p, sub(fusedMatMul(dO, v, { transB: 1 }), rowSum));
        return known;
      };
      return [
        () => fusedMatMul(dScores(), k, { alpha }),
        () => turned(fusedMatMul(q, dScores(), { transA: 1, alpha })),
        () => turned(fusedMatMul(dO, p, { transA: 1 })),
      ];
    },
  });
  return o;
}

/** The last two axes exchanged. Of a product aᵀ·b, narrow a is the cheaper one to transpose. */
const turned = (x: Value): Value => transpose(x, [0, 1, 3, 2]);
