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
  cast,
  concat,
  expand,
  fusedMatMul,
  gather,
  type Graph,
  greater,
  matMul,
  mul,
  product,
  reduceSum,
  reshape,
  softmax,
  split,
  sub,
  transpose,
  type Value,
} from "@oarlock/onnx";
import type { LlamaConfig } from "../config.ts";
import { rotaryConstants, rotaryInputs, rotate, type RotaryTables } from "./rotary.ts";
import { type Attention, rmsNorm } from "./stack.ts";
import type { WeightLookup } from "./weights.ts";

/** Added to the scores of hidden keys: e to this is 0, and it is finite, so that no inf − inf can arise. */
const HIDDEN = -1e30;

export interface CausalAttentionOptions {
  readonly config: LlamaConfig;
  /** The position of each token, int64 [B, T]; the same in every row. The sizes may have names. */
  readonly positions: Value;
  /** Those of P tokens that every row begins with, int64 [1, P]: they are computed once, and come before all rows. Default: none. */
  readonly prefixPositions?: Value;
}

/** The attention of the training graph: on tokens in row order, [P + B·T, (H + 2·KV)·S] → [P + B·T, H·S]. */
export function causalAttention(graph: Graph, options: CausalAttentionOptions): Attention {
  const { config, positions, prefixPositions } = options;
  const sizes = [positions, prefixPositions].map((value) => value?.shape[1] ?? 0); // T, P
  const fixed = sizes.reduce<number>((total, size) => total + (typeof size === "number" ? size : 0), 0);
  if (fixed > config.maxPositions)
    throw new OarlockError(
      "NN_LENGTH",
      `rows of ${fixed} tokens; this model takes ${config.maxPositions} (maxPositions)`,
    );
  const isNamed = sizes.some((size) => typeof size === "string");
  const tables = isNamed ? rotaryInputs(graph, config) : rotaryConstants(graph, config, fixed);
  if (prefixPositions) return prefixedAttention({ config, positions, prefixPositions, tables });
  const mask = causalMask(positions, positions);
  return ({ qkv, weight }) =>
    byToken(attend({ ...heads(qkv, weight, { config, positions, tables }), mask, config }), config);
}

type Prefixed = Pick<CausalAttentionOptions, "config" | "positions"> & {
  readonly prefixPositions: Value;
  readonly tables: RotaryTables;
};

/** The prefix attends to itself once; each row to the prefix and to itself. */
function prefixedAttention({ config, positions, prefixPositions, tables }: Prefixed): Attention {
  const [B = 1] = positions.shape;
  const P = product(prefixPositions.shape);
  const prefixMask = causalMask(prefixPositions, prefixPositions);
  const rowMask = causalMask(positions, concat([prefixPositions, firstRow(positions)], 1));
  const repeated = (x: Value): Value => expand(x, [B, 1, 1, 1]);
  return ({ qkv, weight }) => {
    const [first = qkv, rest = qkv] = split(qkv, [P, product(positions.shape)], 0);
    const common = heads(first, weight, { config, positions: prefixPositions, tables });
    const own = heads(rest, weight, { config, positions, tables });
    const rows = {
      queries: own.queries,
      keys: concat([repeated(common.keys), own.keys], 2), // [B, KV, P + T, S]
      values: concat([repeated(common.values), own.values], 2),
    };
    const mixed = byToken(attend({ ...common, mask: prefixMask, config }), config);
    return concat([mixed, byToken(attend({ ...rows, mask: rowMask, config }), config)], 0);
  };
}

/** [B, KV, G·T, S] → [B·T, H·S] */
function byToken(mixed: Value, { heads: H, headSize: S }: LlamaConfig): Value {
  return reshape(transpose(reshape(mixed, [0, H, -1, S]), [0, 2, 1, 3]), [-1, H * S]);
}

const firstRow = (positions: Value): Value => gather(positions, positions.graph.integers([0]), 0);

/** 0 where key ≤ query, else hidden, of tokens at these positions [rows, T] and [1, K]. [T, K] */
function causalMask(queries: Value, keys: Value): Value {
  const isLater = greater(firstRow(keys), reshape(firstRow(queries), [-1, 1]));
  return mul(cast(isLater, "float32"), HIDDEN);
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
  options: Pick<CausalAttentionOptions, "config" | "positions"> & { readonly tables: RotaryTables },
): Heads {
  const { config, positions, tables } = options;
  const { heads: H, kvHeads: KV, headSize: S } = config;
  const apart = reshape(qkv, [...positions.shape, H + 2 * KV, S]); // [B, T, H + 2·KV, S]
  const byHead = transpose(apart, [0, 2, 1, 3]);
  const turn = (x: Value): Value => rotate(x, { tables, positions, config });
  const stacked = (queries: Value): Value => reshape(queries, [0, KV, -1, S]);
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
  /** [T, K] */
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
  const scores = reshape(fusedMatMul(q, k, { transB: 1, alpha }), [0, H, -1, 0]); // [B, H, T, K]
  const p = reshape(softmax(add(scores, mask)), [0, KV, -1, 0]); // [B, KV, G·T, K]
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
