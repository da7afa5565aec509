import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkSamplingParams, choose, inverseTemperature, keptTokens, type Row } from "./sampling.ts";
import type { SamplingParams } from "./types.ts";

const plain: SamplingParams = { temperature: 1, topK: 0, topP: 1, maxNewTokens: 1, stopTokens: [] };

function row(weights: readonly number[], offset = 0): Row {
  const total = weights.reduce((sum, w) => sum + w, 0);
  const probabilities = new Float32Array(offset + weights.length).fill(Number.NaN, 0, offset);
  weights.forEach((w, i) => (probabilities[offset + i] = w / total));
  return { probabilities, offset, vocabulary: weights.length };
}
function draw(from: Row, params: SamplingParams, u: number) {
  const into = { token: -1, logprob: Number.NaN };
  choose(from, params, u, into);
  return into;
}

const weights = fc
  .array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 40 })
  .filter((w) => w.some((x) => x > 0));
const params = fc.record({
  temperature: fc.constant(1),
  topK: fc.integer({ min: 0, max: 45 }),
  topP: fc.double({ min: 0.01, max: 1, noNaN: true }),
  maxNewTokens: fc.constant(1),
  stopTokens: fc.constant([]),
});

describe("drawing", () => {
  it("inverts the cumulative distribution", () => {
    const from = row([1, 0, 2, 1], 3);
    const tokens = [0, 0.24, 0.25, 0.74, 0.75, 0.999].map((u) => draw(from, plain, u).token);
    expect(tokens).toEqual([0, 0, 2, 2, 3, 3]);
    expect(draw(from, plain, 0.5).logprob).toBeCloseTo(Math.log(0.5), 6);
  });

  it("draws each token as often as its probability says, for any parameters, with its own log-probability", () => {
    const grid = 4000;
    const frequencies = fc.property(weights, params, (w, p) => {
      const from = row(w);
      const counts = new Map<number, number>();
      const logprobs = new Map<number, number>();
      for (let i = 0; i < grid; i++) {
        const { token, logprob } = draw(from, p, (i + 0.5) / grid);
        counts.set(token, (counts.get(token) ?? 0) + 1);
        logprobs.set(token, logprob);
      }
      let mass = 0;
      for (const [token, count] of counts) {
        const probability = Math.exp(logprobs.get(token)!);
        mass += probability;
        expect(Math.abs(count / grid - probability)).toBeLessThan(2 / grid);
      }
      expect(mass).toBeCloseTo(1, 1);
    });
    fc.assert(frequencies, { numRuns: 60 });
  });

  it("keeps what the definitions of top-k and top-p keep", () => {
    const kept = fc.property(weights, params, (w, p) => {
      const from = row(w);
      const at = (i: number) => from.probabilities[i]!;
      let order = w.map((_, i) => i).sort((a, b) => at(b) - at(a) || a - b);
      if (p.topK > 0) order = order.slice(0, p.topK);
      const total = order.reduce((sum, i) => sum + at(i), 0);
      const nucleus = order.filter(
        (_, n) => n === 0 || order.slice(0, n).reduce((sum, i) => sum + at(i), 0) < p.topP * total,
      );
      // Where the border falls on a token to the last bit, the order of summation decides: no case for a definition.
      const sums = order.map((_, n) => order.slice(0, n).reduce((sum, i) => sum + at(i), 0));
      fc.pre(sums.every((sum) => Math.abs(sum - p.topP * total) > 1e-12));
      const positive = (tokens: readonly number[]) => tokens.filter((i) => at(i) > 0);
      expect(positive(keptTokens(from, p))).toEqual(positive(nucleus));
    });
    fc.assert(kept);
  });

  it("is greedy at temperature 0: the lowest id among equals, with the model's log-probability", () => {
    const greedy = { ...plain, temperature: 0, topK: 1 };
    expect(draw(row([1, 3, 3]), greedy, 0.99)).toEqual({ token: 1, logprob: Math.log(Math.fround(3 / 7)) });
    expect(inverseTemperature(greedy)).toBe(1);
    expect(inverseTemperature({ ...plain, temperature: 0.5 })).toBe(2);
  });

  it("never draws a token without mass, even where rounding leaves the sum below u", () => {
    const from: Row = { probabilities: Float32Array.of(0.5, 0.49999, 0), offset: 0, vocabulary: 3 };
    expect(draw(from, plain, 0.9999999).token).toBe(1);
  });

  it("refuses a row that is not finite", () => {
    const from: Row = { probabilities: Float32Array.of(Number.NaN, Number.NaN), offset: 0, vocabulary: 2 };
    for (const p of [plain, { ...plain, temperature: 0 }, { ...plain, topK: 1 }]) {
      expect(() => draw(from, p, 0.5)).toThrow(/GENERATION_NOT_FINITE/);
    }
  });
});

describe("parameters", () => {
  it.each([
    ["temperature", { temperature: -1 }],
    ["temperature", { temperature: Number.NaN }],
    ["topK", { topK: 1.5 }],
    ["topP", { topP: 0 }],
    ["maxNewTokens", { maxNewTokens: 0 }],
    ["stopTokens", { stopTokens: [512] }],
  ])("names %s in %j", (field, change) => {
    expect(() => checkSamplingParams({ ...plain, ...change }, 512)).toThrow(
      new RegExp(`GENERATION_PARAMS.*${field}`),
    );
  });
});
