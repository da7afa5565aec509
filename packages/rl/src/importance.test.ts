import { fc, test } from "@fast-check/vitest";
import { describe, expect } from "vitest";
import { CORRECTIONS, importanceMetrics, importanceWeights } from "./importance.ts";
import type { Correction, CorrectionSettings } from "./importance.ts";

const logprobs = fc.array(fc.double({ min: -8, max: 0, noNaN: true }), { minLength: 1, maxLength: 12 });
const bounds = { minRatio: 0.5, maxRatio: 2 };
const settings = (correction: Correction): CorrectionSettings => ({ level: correction, ...bounds });

describe("importance weights", () => {
  test.prop([logprobs, fc.constantFrom(...CORRECTIONS)])(
    "are 1 where the sampler and the learner agree",
    (row, correction) => {
      expect(importanceWeights({ rollout: row, training: row }, settings(correction))).toEqual(
        row.map(() => 1),
      );
    },
  );

  test.prop([fc.array(fc.tuple(logprobs, logprobs), { minLength: 1, maxLength: 6 })])(
    "are bounded, and every token outside the bounds is counted",
    (pairs) => {
      const sequences = pairs.map(([a, b]) => {
        const length = Math.min(a.length, b.length);
        return { rollout: a.slice(0, length), training: b.slice(0, length) };
      });
      for (const correction of ["token", "sequence"] as const) {
        const weights = sequences.flatMap((one) => importanceWeights(one, settings(correction)));
        expect(Math.min(...weights)).toBeGreaterThanOrEqual(bounds.minRatio);
        expect(Math.max(...weights)).toBeLessThanOrEqual(bounds.maxRatio);
      }
      const masked = sequences.flatMap((one) => importanceWeights(one, settings("token-mask")));
      const metrics = importanceMetrics(sequences, settings("token-mask"));
      const outside =
        (metrics["rollout_corr/rollout_is_ratio_fraction_high"] ?? 0) +
        (metrics["rollout_corr/rollout_is_ratio_fraction_low"] ?? 0);
      expect(outside).toBeCloseTo(masked.filter((weight) => weight === 0).length / masked.length, 12);
      const size = metrics["rollout_corr/rollout_is_eff_sample_size"] ?? -1;
      expect(size).toBeGreaterThanOrEqual(0);
      expect(size).toBeLessThanOrEqual(1 + 1e-12);
    },
  );

  test("of one sequence: each by its own formula", () => {
    // ρ = 4, 1/2, 1; Π = 2.
    const log = Math.log;
    const sequence = { rollout: [log(0.125), log(0.5), -1], training: [log(0.5), log(0.25), -1] };
    const rounded = (correction: Correction, maxRatio: number): number[] =>
      importanceWeights(sequence, { level: correction, minRatio: 0.6, maxRatio }).map((w) => Math.fround(w));
    expect(rounded("token", 3)).toEqual([3, Math.fround(0.6), 1]);
    expect(rounded("sequence", 3)).toEqual([2, 2, 2]);
    expect(rounded("sequence", 1.5)).toEqual([1.5, 1.5, 1.5]);
    expect(rounded("token-mask", 3)).toEqual([0, 0, 1]);
    expect(rounded("none", 3)).toEqual([1, 1, 1]);
  });
});
