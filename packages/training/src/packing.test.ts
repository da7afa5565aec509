import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  extentOf,
  gatherPlaces,
  isTrained,
  packRows,
  passBatches,
  pieces,
  trainedTokens,
  weighRows,
} from "./packing.ts";
import type { TrainingRow } from "./types.ts";

const row = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 99 }), fc.boolean()), { minLength: 2, maxLength: 20 })
  .map((tokens): TrainingRow => ({
    tokens: Int32Array.from(tokens, ([token]) => token),
    promptLength: 0,
    lossMask: Uint8Array.from(tokens, ([, trained]) => (trained ? 1 : 0)),
  }));
const unrelated = fc.array(row, { minLength: 1, maxLength: 6 });
/** Rows of one prompt. */
const related = fc
  .tuple(fc.array(fc.integer({ min: 0, max: 99 }), { maxLength: 40 }), unrelated)
  .map(([prompt, batch]) =>
    batch.map(({ tokens, lossMask }, group): TrainingRow => ({
      tokens: Int32Array.of(...prompt, ...tokens),
      promptLength: prompt.length,
      lossMask: Uint8Array.of(...prompt.map((_, i) => i % 2), ...lossMask),
      group: group % 2,
    })),
  );
const rows = fc.oneof(unrelated, related);

describe("packed rows", () => {
  test("every trained token is predicted once, from the token before it", () => {
    fc.assert(
      fc.property(rows, (batch) => {
        const packed = packRows(batch, extentOf(batch), isTrained);
        const { prefix, length } = packed;
        expect(packed.ids.length).toBe(prefix + batch.length * length);
        const wanted = batch.flatMap(({ lossMask }, r) =>
          Array.from(lossMask, (flag, t) => (flag === 1 && t > 0 ? `${r} ${t}` : "")).filter(Boolean),
        );
        expect(Array.from(packed.rowOf, (r, i) => `${r} ${packed.tokenOf[i]}`)).toEqual(wanted);
        packed.chosen.forEach((place, i) => {
          const [r, token] = [packed.rowOf[i] ?? 0, packed.tokenOf[i] ?? 0];
          const inRow = Number(place) - prefix - r * length;
          expect(Number(place) < prefix || (inRow >= 0 && inRow < length)).toBe(true);
          const position =
            place < prefix ? packed.prefixPositions[Number(place)] : packed.positions[Number(place) - prefix];
          expect(position).toBe(BigInt(token - 1));
          expect(packed.ids[Number(place)]).toBe(BigInt(batch[r]?.tokens[token - 1] ?? -1));
          expect(packed.targets[i]).toBe(BigInt(batch[r]?.tokens[token] ?? -1));
        });
      }),
    );
  });

  test("the extent covers the longest row, stays within the model, and its prefix is common to all rows", () => {
    fc.assert(
      fc.property(rows, fc.integer({ min: 0, max: 5 }), (batch, more) => {
        const longest = Math.max(...batch.map(({ tokens }) => tokens.length - 1));
        const { prefix, length } = extentOf(batch, longest + more);
        expect(prefix + length).toBeGreaterThanOrEqual(longest);
        expect(prefix + length).toBeLessThanOrEqual(longest + Math.min(more, 3));
        expect(prefix % 4).toBe(0);
        expect(prefix + length === longest + more || length % 4 === 0).toBe(true);
        const heads = batch.map(({ tokens }) => tokens.slice(0, prefix).join());
        expect(new Set(heads).size).toBe(1);
        expect(batch.every(({ tokens }) => prefix < tokens.length - 1 || prefix === 0)).toBe(true);
      }),
    );
  });

  test("a pass takes each row with a trained token once, in micro-batches of the given size at most", () => {
    fc.assert(
      fc.property(
        rows,
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 6 }),
        (batch, micro, mini) => {
          const order = batch.map((_, i) => i);
          const updates = passBatches(batch, order, {
            microBatchSize: micro,
            miniBatchSize: mini,
            together: 1,
          });
          const used = order.filter((i) => trainedTokens(batch[i]!) > 0);
          expect(updates.flat(2).toSorted((a, b) => a - b)).toEqual(used);
          updates.flat().forEach((indices) => expect(indices.length).toBeLessThanOrEqual(micro));
          updates.forEach((update, u) =>
            expect(update.flat().every((i) => Math.floor(i / mini) === u)).toBe(true),
          );
        },
      ),
    );
  });

  test("rows of one prompt go together where its tokens are worth it", () => {
    const rowOf = (group: number, promptLength: number, length: number): TrainingRow => ({
      tokens: Int32Array.from({ length }, (_, t) => (t < promptLength ? group : length + t)),
      promptLength,
      lossMask: new Uint8Array(length).fill(1, promptLength),
      group,
    });
    const batching = { microBatchSize: 2, miniBatchSize: 4, together: 1 };
    const long = [rowOf(1, 40, 50), rowOf(2, 40, 46), rowOf(1, 40, 46), rowOf(2, 40, 50)];
    expect(passBatches(long, [0, 1, 2, 3], batching)).toEqual([
      [
        [1, 3],
        [2, 0],
      ],
    ]);
    expect(extentOf([long[1]!, long[3]!])).toEqual({ prefix: 40, length: 12 });
    const short = [rowOf(1, 2, 50), rowOf(2, 2, 12), rowOf(1, 2, 12), rowOf(2, 2, 50)];
    expect(passBatches(short, [0, 1, 2, 3], batching)).toEqual([
      [
        [1, 2],
        [0, 3],
      ],
    ]);
  });

  test("token means: the weights of a batch with trained tokens add up to 1, whatever the pieces", () => {
    fc.assert(
      fc.property(rows, fc.integer({ min: 1, max: 6 }), (batch, size) => {
        fc.pre(batch.some((one) => trainedTokens(one) > 0));
        for (const aggregation of ["token-mean-global", "token-mean-group", "seq-mean-token-mean"] as const) {
          let total = 0;
          for (const piece of pieces(weighRows(batch, aggregation, undefined), size)) {
            const packed = packRows(piece, extentOf(piece), isTrained);
            total += gatherPlaces(packed, piece, ({ tokenWeights }) => tokenWeights).reduce(
              (sum, weight) => sum + weight,
              0,
            );
          }
          expect(total).toBeCloseTo(1, 5);
        }
      }),
    );
  });
});
