import { expect, it } from "vitest";
import { checkFirstUpdate } from "./first-update.ts";

it("W3: ends a stage at its first update alone, and only where that was rejected", () => {
  const rejected = { applied: false, gradNorm: Number.NaN };
  expect(() => checkFirstUpdate("sft", 1, rejected)).toThrow(
    /UPDATE_NOT_FINITE.*stage sft, step 1: .*gradient norm NaN/,
  );
  checkFirstUpdate("sft", 2, rejected); // reported, and the next one may be finite
  checkFirstUpdate("sft", 1, { applied: true, gradNorm: 3 });
});
