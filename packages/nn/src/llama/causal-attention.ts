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
  type Dim,
  fusedMatMul,
  type Graph,
  matMul,
  mul,
  reduceSum,
  reshape,
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
  /** The position of each token, int64 [B, T]. */
  readonly positions: Value;
  /** What is added to the scores, [T, T] or [B, 1, T, T]. Default: a token sees itself and what is before it. */
  readonly mask?: Value;
}

/** The attention of the training graph: on tokens in row order, [B·T, (H + 2·KV)·S] → [B·T, H·S]. */
export function causalAttention(graph: Graph, options: CausalAttentionOptions): Attention {
  const { config, length } = options;
  if (length > config.maxPositions) {
    throw new OarlockError(
      "NN_LENGTH",
      `rows of ${length} tokens; this model takes ${config.maxPositions} (maxPositions)`,
    );
  }
  const tables = rotaryTables(graph, config, length);
  const mask = options.mask ?? causalMask(graph, length);
  return ({ qkv, weight }) => {
    const { queries, keys, values } = heads(qkv, weight, { ...options, tables });
    const mixed = attend({ queries, keys, values, mask, config, length }); // [B, KV, G·T, S]
    const byToken = transpose(reshape(mixed, [0, config.heads, length, config.headSize]), [0, 2, 1, 3]); // [B, T, H, S]
    return reshape(byToken, [-1, config.heads * config.headSize]);
  };
}

/** 0 where key ≤ query, else hidden. [T, T] */
export function causalMask(graph: Graph, length: number): Value {
  const at = (index: number): number => (index % length <= Math.floor(index / length) ? 0 : HIDDEN);
  return graph.constant(
    tensor(
      "float32",
      [length, length],
      Float32Array.from({ length: length * length }, (_, i) => at(i)),
    ),
  );
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
  options: CausalAttentionOptions & { tables: RotaryTables },
): Heads {
  const { config, length: T, positions, tables } = options;
  const { heads: H, kvHeads: KV, headSize: S } = config;
  const byHead = transpose(reshape(qkv, [-1, T, H + 2 * KV, S]), [0, 2, 1, 3]); // [B, H + 2·KV, T, S]
  const turn = (x: Value): Value => rotate(x, tables, positions, config);
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
  readonly mask: Value;
  readonly config: LlamaConfig;
  readonly length: number;
}

/**
 * O = softmax(Q·Kᵀ/√S + mask)·V. [B, KV, G·T, S]
 *
 * Backward by hand: with P the softmax, Σ_keys P·dP of a row is its O·dO (FlashAttention, arXiv:2205.14135 §B.2), so the
 * largest arrays, [T, T] for each head, are passed over twice instead of four times.
 */
function attend({ queries: q, keys: k, values: v, mask, config, length: T }: Attend): Value {
  const { heads: H, kvHeads: KV, headSize: S } = config;
  const alpha = 1 / Math.sqrt(S);
  const scores = reshape(fusedMatMul(q, k, { transB: 1, alpha }), [0, H, T, T]);
  const p = reshape(softmax(add(scores, mask)), [0, KV, (H / KV) * T, T]); // [B, KV, G·T, T]
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
        () => fusedMatMul(dScores(), q, { transA: 1, alpha }),
        () => fusedMatMul(p, dO, { transA: 1 }),
      ];
    },
  });
  return o;
}
