import { fc, test } from "@fast-check/vitest";
import { expect } from "vitest";
import { mismatchMetrics } from "./mismatch.ts";

const logprobs = fc.array(fc.double({ min: -8, max: 0, noNaN: true }), { minLength: 1, maxLength: 12 });

test.prop([fc.array(logprobs, { minLength: 1, maxLength: 6 })])(
  "equal policies differ in nothing",
  (rows) => {
    const metrics = mismatchMetrics(rows.map((row) => ({ rollout: row, training: row })));
    const { "rollout_corr/training_ppl": training, "rollout_corr/rollout_ppl": rollout, ...rest } = metrics;
    expect(training).toBe(rollout);
    const { "rollout_corr/ppl_ratio": ratio, ...zeros } = rest;
    expect(ratio).toBeCloseTo(1, 12);
    for (const [name, value] of Object.entries(zeros)) expect(value, name).toBeCloseTo(0, 12);
  },
);

test.prop([fc.array(fc.tuple(logprobs, logprobs), { minLength: 1, maxLength: 6 })])(
  "the distances are never negative, and the greatest is no less than the mean",
  (pairs) => {
    const sequences = pairs.map(([a, b]) => {
      const length = Math.min(a.length, b.length);
      return { rollout: a.slice(0, length), training: b.slice(0, length) };
    });
    const metrics = mismatchMetrics(sequences);
    const at = (name: string): number => metrics[name] ?? Number.NaN;
    expect(at("rollout_corr/k3_kl")).toBeGreaterThanOrEqual(-1e-12);
    expect(at("rollout_corr/log_ppl_abs_diff")).toBeGreaterThanOrEqual(
      Math.abs(at("rollout_corr/log_ppl_diff")) - 1e-12,
    );
    expect(at("training/rollout_probs_diff_max")).toBeGreaterThanOrEqual(
      at("training/rollout_probs_diff_mean") - 1e-12,
    );
  },
);

test("sequences without trained tokens count nowhere", () => {
  const sequence = { rollout: [-1], training: [-2] };
  const empty = { rollout: [], training: [] };
  expect(mismatchMetrics([empty, sequence, empty])).toEqual(mismatchMetrics([sequence]));
  expect(mismatchMetrics([empty])).toEqual({});
});
