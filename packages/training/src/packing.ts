/**
 * Rows as the arrays that the graphs read. Pure: the same rows give the same arrays, whoever packs them.
 *
 * Of a row with L tokens the first L − 1 are read and the last L − 1 predicted. What all rows of a micro-batch begin with
 * (the prompt of a group) is read once; what is left of them is padded at the right. Only trained tokens go through the head
 * (`chosen`).
 */
import { OarlockError } from "@oarlock/errors";
import { type Aggregation, tokenWeights } from "@oarlock/rl";
import type { TrainingRow } from "./types.ts";

/** A row, and the per-token numbers that depend on the whole mini-batch. */
export interface WeightedRow extends TrainingRow {
  /** What each token weighs in the loss; 0 where it is not trained. */
  readonly tokenWeights: Float32Array;
}

/** How rows lie in the arrays: P tokens that they share, then T of each, padding included. */
export interface Extent {
  readonly prefix: number;
  readonly length: number;
}

export interface PackedRows extends Extent {
  readonly batch: number;
  /** M, tokens that go through the head. */
  readonly chosenCount: number;
  readonly ids: BigInt64Array; // [P + B·T]
  readonly positions: BigInt64Array; // [B, T]
  readonly prefixPositions: BigInt64Array; // [1, P]
  /** Where the token to predict from lies among them. */
  readonly chosen: BigInt64Array; // [M]
  readonly targets: BigInt64Array; // [M]
  /** The row of each chosen token, and its index into that row's `tokens`. [M] */
  readonly rowOf: Int32Array;
  readonly tokenOf: Int32Array;
}

/** Throws `TRAINING_ROW`, naming the row, where its arrays do not fit together or the model. */
export function checkRows(
  rows: readonly TrainingRow[],
  limits: { maxPositions: number; vocabSize: number },
): void {
  for (const [index, row] of rows.entries()) {
    const fail = (what: string): never => {
      throw new OarlockError("TRAINING_ROW", `row ${index}: ${what}`);
    };
    const length = row.tokens.length;
    if (length < 2) fail(`${length} tokens; at least 2 are needed`);
    if (length - 1 > limits.maxPositions)
      fail(`${length} tokens; the model reads at most ${limits.maxPositions}`);
    const sideArrays = {
      lossMask: row.lossMask,
      advantages: row.advantages,
      oldLogprobs: row.oldLogprobs,
      importance: row.importance,
      refLogprobs: row.refLogprobs,
      returns: row.returns,
      oldValues: row.oldValues,
      margins: row.margins,
      labels: row.labels,
    };
    for (const [name, array] of Object.entries(sideArrays)) {
      if (array !== undefined && array.length !== length)
        fail(`${name} has ${array.length} elements for ${length} tokens`);
    }
    const bad = row.tokens.findIndex((token) => token < 0 || token >= limits.vocabSize);
    if (bad >= 0) fail(`token ${row.tokens[bad]} at ${bad} is outside the vocabulary of ${limits.vocabSize}`);
  }
}

/** How many tokens of a row are trained (index 0 has nothing before it and never is). */
export function trainedTokens({ lossMask }: TrainingRow): number {
  let count = 0;
  for (let t = 1; t < lossMask.length; t++) count += lossMask[t] === 1 ? 1 : 0;
  return count;
}

/** Each row with the weights of its tokens; the denominators span all `rows`, so that micro-batches change nothing. */
export function weighRows(
  rows: readonly TrainingRow[],
  aggregation: Aggregation,
  maxLength: number | undefined,
): WeightedRow[] {
  const sequences = rows.map((row) => ({
    mask: row.lossMask.map((flag, token) => (token > 0 && flag === 1 ? 1 : 0)),
    ...(row.group === undefined ? {} : { group: row.group }),
  }));
  const weights = tokenWeights(aggregation, sequences, maxLength === undefined ? {} : { maxLength });
  return rows.map((row, i) => ({ ...row, tokenWeights: weights[i] ?? new Float32Array(row.tokens.length) }));
}

/** Consecutive pieces of at most `size`. */
export function pieces<T>(items: readonly T[], size: number): T[][] {
  if (!Number.isInteger(size) || size < 1)
    throw new OarlockError("TRAINING_OPTION", `a batch size of ${size}; accepted: a whole number from 1 on`);
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) =>
    items.slice(i * size, (i + 1) * size),
  );
}

/** How a step takes its rows; see `StepOptions`. */
export interface Batching {
  readonly microBatchSize: number;
  readonly miniBatchSize: number;
  /** Rows i·together … (i + 1)·together − 1 stay together, in their order. */
  readonly together: number;
}

/**
 * The rows of one pass, as lists of indices: updates, and micro-batches within each. Either rows (or pairs, or rankings) of like
 * length go together, for less padding, or those of one prompt, which is then read once: whichever reads less. A function of the
 * rows (D1). Rows without a trained token are left out.
 */
export function passBatches(
  rows: readonly TrainingRow[],
  order: ArrayLike<number>,
  { microBatchSize, miniBatchSize, together }: Batching,
): number[][][] {
  const lengthOf = (unit: readonly number[]): number =>
    unit.reduce((most, index) => Math.max(most, rows[index]?.tokens.length ?? 0), 0);
  const isUsed = (index: number): boolean => {
    const row = rows[index];
    return row !== undefined && trainedTokens(row) > 0;
  };
  const cost = (microBatches: readonly number[][]): number =>
    microBatches.reduce((sum, indices) => sum + BATCH_TOKENS + tokensOf(indices, rows), 0);
  return pieces(Array.from(order), miniBatchSize).map((miniBatch) => {
    const units = pieces(miniBatch.filter(isUsed), together);
    const sorted = units.toSorted((a, b) => lengthOf(a) - lengthOf(b));
    const byLength = pieces(sorted.flat(), microBatchSize);
    const groups = new Map<number, number[][]>();
    for (const unit of sorted) {
      const [first = 0] = unit;
      const group = rows[first]?.group ?? -1 - first; // a row without one is alone
      groups.set(group, [...(groups.get(group) ?? []), unit]);
    }
    if (groups.size === sorted.length) return byLength;
    const byPrompt = [...groups.values()].flatMap((group) => pieces(group.flat(), microBatchSize));
    return cost(byPrompt) < cost(byLength) ? byPrompt : byLength;
  });
}

/** What one more run costs, as tokens that it could have read instead. */
const BATCH_TOKENS = 64;

function tokensOf(indices: readonly number[], rows: readonly TrainingRow[]): number {
  const { prefix, length } = extentOf(indices.flatMap((index) => rows[index] ?? []));
  return prefix + indices.length * length;
}

/** Extents are multiples of it: kernels sum what is left of a row in another order, so bits would depend on the rows beside it (D3). */
const GRAIN = 4;

/** A function of the rows alone (D1). The prefix is rounded down, so that nothing of it is padding. */
export function extentOf(
  rows: readonly TrainingRow[],
  maxPositions: number = Number.POSITIVE_INFINITY,
): Extent {
  const longest = rows.reduce((most, { tokens }) => Math.max(most, tokens.length - 1), 1);
  const shared = Math.floor(sharedPrefix(rows) / GRAIN) * GRAIN;
  // A prefix costs operations that cut and join: it has to save an eighth of the reading.
  const isWorthIt = shared * (rows.length - 1) * 8 >= longest * rows.length;
  const prefix = isWorthIt ? shared : 0;
  const rest = longest - prefix;
  const padded = Math.ceil(rest / GRAIN) * GRAIN;
  return { prefix, length: Math.max(rest, Math.min(padded, maxPositions - prefix)) };
}

/** How many tokens all rows begin with; at least one of each is left to read. 0 for a row alone. */
function sharedPrefix(rows: readonly TrainingRow[]): number {
  const [first, ...others] = rows;
  if (first === undefined || others.length === 0) return 0;
  let shared = rows.reduce(
    (least, { tokens }) => Math.min(least, tokens.length - 2),
    Number.MAX_SAFE_INTEGER,
  );
  for (const { tokens } of others) {
    let t = 0;
    while (t < shared && tokens[t] === first.tokens[t]) t++;
    shared = t;
  }
  return Math.max(0, shared);
}

/** Whether the token at that index is to be predicted. */
export type WantedToken = (row: TrainingRow, token: number) => boolean;

export const isTrained: WantedToken = ({ lossMask }, token) => lossMask[token] === 1;

/**
 * Writes whole numbers ≥ 0 into an int64 array through its low words: without a BigInt for each. Typed arrays are
 * little-endian on every platform that ONNX Runtime runs on.
 */
function lowWords(array: BigInt64Array): Int32Array {
  return new Int32Array(array.buffer, array.byteOffset, array.length * 2);
}

/** Row and token index of every wanted token, row by row. */
function findPlaces(
  rows: readonly TrainingRow[],
  wanted: WantedToken,
): { rowOf: Int32Array; tokenOf: Int32Array } {
  const most = rows.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const [rowOf, tokenOf] = [new Int32Array(most), new Int32Array(most)];
  let count = 0;
  for (const [index, row] of rows.entries()) {
    for (let token = 1; token < row.tokens.length; token++) {
      if (!wanted(row, token)) continue;
      rowOf[count] = index;
      tokenOf[count++] = token;
    }
  }
  return { rowOf: rowOf.subarray(0, count), tokenOf: tokenOf.subarray(0, count) };
}

/** Packs `rows`; `wanted` says which tokens (by index into `tokens`, from 1) are predicted. */
export function packRows(
  rows: readonly TrainingRow[],
  { prefix, length }: Extent,
  wanted: WantedToken,
): PackedRows {
  const batch = rows.length;
  const { rowOf, tokenOf } = findPlaces(rows, wanted);
  const count = rowOf.length;
  const ids = new BigInt64Array(prefix + batch * length);
  const [positions, prefixPositions] = [new BigInt64Array(batch * length), new BigInt64Array(prefix)];
  const [chosen, targets] = [new BigInt64Array(count), new BigInt64Array(count)];
  const [idWords, positionWords, chosenWords, targetWords, prefixWords] = [
    ids,
    positions,
    chosen,
    targets,
    prefixPositions,
  ].map(lowWords) as Words;
  /** Where a row's token at `t` is read. */
  const placeOf = (row: number, t: number): number => (t < prefix ? t : prefix + row * length + t - prefix);
  for (let t = 0; t < prefix; t++) prefixWords[2 * t] = t;
  for (let i = 0; i < positions.length; i++) positionWords[2 * i] = prefix + (i % length);
  for (const [row, { tokens }] of rows.entries()) {
    for (let t = row === 0 ? 0 : prefix; t + 1 < tokens.length; t++)
      idWords[2 * placeOf(row, t)] = tokens[t] ?? 0;
  }
  for (let i = 0; i < count; i++) {
    const [row, token] = [rowOf[i] ?? 0, tokenOf[i] ?? 0];
    chosenWords[2 * i] = placeOf(row, token - 1);
    targetWords[2 * i] = rows[row]?.tokens[token] ?? 0;
  }
  const places = { ids, positions, prefixPositions, chosen, targets, rowOf, tokenOf };
  return { batch, prefix, length, chosenCount: count, ...places };
}

type Words = [Int32Array, Int32Array, Int32Array, Int32Array, Int32Array];

/** One number for each chosen token, taken from an array of its row that lies beside `tokens`. */
export function gatherPlaces<R>(
  packed: PackedRows,
  rows: readonly R[],
  arrayOf: (row: R) => Float32Array,
): Float32Array {
  const arrays = rows.map(arrayOf);
  const gathered = new Float32Array(packed.chosenCount);
  for (let i = 0; i < gathered.length; i++) {
    gathered[i] = arrays[packed.rowOf[i] ?? 0]?.[packed.tokenOf[i] ?? 0] ?? 0;
  }
  return gathered;
}
