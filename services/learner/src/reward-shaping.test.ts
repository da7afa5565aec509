/** Normalised and clipped scores: against the direct formula, in parts as in one (T3), and without failures (S1). */
import { expect, test } from "vitest";
import { observeScores, shapedScore } from "./reward-shaping.ts";

const scorer = { name: "a", normalize: "running" as const };
const sample = (value: number | null) => ({ named: { a: value, b: 99 } });

test("T3: moments of two batches, one after the other, are those of all scores; a failure moves nothing", () => {
  const values = [3, null, -1, 4, 1, null, 5];
  const parts = observeScores(
    observeScores(undefined, values.slice(0, 3).map(sample), [scorer]),
    values.slice(3).map(sample),
    [scorer],
  );
  expect(parts).toEqual(observeScores(undefined, values.map(sample), [scorer]));
  const scores = values.filter((value) => value !== null);
  const mean = scores.reduce((a, b) => a + b) / scores.length;
  const deviation = Math.sqrt(scores.reduce((sum, value) => sum + (value - mean) ** 2, 0) / scores.length);
  expect(shapedScore(5, scorer, parts)).toBeCloseTo((5 - mean) / deviation, 6);
  expect(Object.keys(parts ?? {})).toEqual(["a"]);
});

test("equal scores become 0, and bounds hold after scaling", () => {
  const moments = observeScores(undefined, [2, 2, 2].map(sample), [scorer]);
  expect(shapedScore(2, scorer, moments)).toBe(0);
  expect(shapedScore(3, { ...scorer, clip: { min: -1, max: 1 } }, moments)).toBe(1);
  expect(shapedScore(-7, { name: "b", clip: { min: -5, max: 5 } }, moments)).toBe(-5);
  expect(shapedScore(-7, { name: "b" }, moments)).toBe(-7);
  expect(observeScores(undefined, [sample(1)], [{ name: "b" }])).toBeUndefined();
});
