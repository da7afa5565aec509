import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  gatherPlaces,
  isTrained,
  packRows,
  paddedLength,
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
const rows = fc.array(row, { minLength: 1, maxLength: 6 });

describe("packed rows", () => {
  test("every trained token is predicted once, from the token before it", () => {
    fc.assert(
      fc.property(rows, fc.integer({ min: 1, max: 8 }), (batch, multiple) => {
        const length = paddedLength(batch, multiple, 64);
        const packed = packRows(batch, length, isTrained);
        expect(packed.chosenCount).toBe(batch.reduce((sum, one) => sum + trainedTokens(one), 0));
        expect(new Set(packed.chosen).size).toBe(packed.chosenCount);
        packed.chosen.forEach((flat, i) => {
          const [r, column] = [Math.floor(Number(flat) / length), Number(flat) % length];
          expect([r, column + 1]).toEqual([packed.rowOf[i], packed.tokenOf[i]]);
          expect(packed.ids[Number(flat)]).toBe(BigInt(batch[r]?.tokens[column] ?? -1));
          expect(packed.targets[i]).toBe(BigInt(batch[r]?.tokens[column + 1] ?? -1));
          expect(packed.positions[Number(flat)]).toBe(BigInt(column));
        });
      }),
    );
  });

  test("the length covers the longest row, is a multiple, and stays within the model", () => {
    fc.assert(
      fc.property(rows, fc.integer({ min: 1, max: 32 }), (batch, multiple) => {
        const longest = Math.max(...batch.map(({ tokens }) => tokens.length - 1));
        const length = paddedLength(batch, multiple, 24);
        expect(length).toBeGreaterThanOrEqual(longest);
        expect(length).toBeLessThanOrEqual(24);
        expect(length === 24 || length % multiple === 0).toBe(true);
      }),
    );
  });

  test("token means: the weights of a batch with trained tokens add up to 1, whatever the pieces", () => {
    fc.assert(
      fc.property(rows, fc.integer({ min: 1, max: 6 }), (batch, size) => {
        fc.pre(batch.some((one) => trainedTokens(one) > 0));
        for (const aggregation of ["token-mean-global", "token-mean-group", "seq-mean-token-mean"] as const) {
          let total = 0;
          for (const piece of pieces(weighRows(batch, aggregation, undefined), size)) {
            const packed = packRows(piece, 20, isTrained);
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
