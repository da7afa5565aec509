import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { learningRateAt, type Schedule } from "./schedule.ts";

const base: Schedule = { kind: "constant", learningRate: 2, warmupSteps: 4, totalSteps: 12 };
const kinds = ["constant", "linear", "cosine"] as const;

describe("learning-rate schedules", () => {
  it("rise from 1/warmupSteps, not from 0", () => {
    expect([0, 1, 2, 3].map((step) => learningRateAt(base, step))).toEqual([0.5, 1, 1.5, 2]);
  });

  it("have the values of their formulas", () => {
    expect(learningRateAt(base, 11)).toBe(2);
    expect(learningRateAt({ ...base, kind: "linear" }, 8)).toBe(1);
    expect(learningRateAt({ ...base, kind: "cosine" }, 8)).toBeCloseTo(1, 12);
    expect(learningRateAt({ ...base, kind: "cosine" }, 6)).toBeCloseTo(1 + Math.cos(Math.PI / 4), 12);
    expect(learningRateAt({ ...base, kind: "linear", finalFraction: 0.25 }, 12)).toBe(0.5);
  });

  it("fall after warm-up, stay within [final, peak], and hold at the end", () => {
    const schedules = fc.record({
      kind: fc.constantFrom(...kinds),
      learningRate: fc.constant(1),
      warmupSteps: fc.nat(20),
      totalSteps: fc.integer({ min: 1, max: 60 }),
      finalFraction: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(schedules, fc.nat(80), (schedule, afterWarmup) => {
        const step = schedule.warmupSteps + afterWarmup;
        const rate = learningRateAt(schedule, step);
        expect(rate).toBeLessThanOrEqual(1);
        expect(learningRateAt(schedule, step + 1)).toBeLessThanOrEqual(rate + 1e-12);
        expect(rate).toBeGreaterThanOrEqual(
          schedule.kind === "constant" ? 1 : schedule.finalFraction - 1e-12,
        );
      }),
    );
  });
});
