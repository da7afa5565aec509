/** D1: a function that is declared deterministic is taken at its word once it has kept it. */
import { failed, scored } from "@oarlock/rewards";
import type { Verdict } from "@oarlock/rewards";
import { describe, expect, test } from "vitest";
import { cachedScorer } from "./cached-scorer.ts";
import { createFunctionScorer } from "./function-scorer.ts";
import { sampleInput as input } from "./testing.ts";

/** A pool of one function, which hears how often it was asked. */
function scorer(score: (completion: string, call: number) => Verdict) {
  let calls = 0;
  const made = createFunctionScorer({
    scorers: [{ name: "mine", version: "sha256:f", deterministic: true, optional: false }],
    score: async (inputs) => inputs.map(({ completion }) => [score(completion, calls++)]),
    close: async () => undefined,
  });
  return { made, calls: () => calls };
}

describe("a function that is declared deterministic", () => {
  test("is checked with its first samples alone, and then its scores are remembered", async () => {
    const { made, calls } = scorer((completion) => scored(completion.length));
    const cached = cachedScorer(made);
    const first = await cached.score(["a", "bb"].map(input));
    expect(first).toMatchObject([{ value: 1 }, { value: 2 }]);
    expect(calls()).toBe(6);
    await cached.score(["bb", "ccc", "a"].map(input));
    expect(calls()).toBe(7);
  });

  test.each<[string, (completion: string, call: number) => Verdict, RegExp]>([
    ["another score", (_, call) => scored(call), /reward mine is declared deterministic.*got 0 and then 2/],
    [
      "a score and none",
      (_, call) => (call < 2 ? scored(1) : failed("REWARD_THREW", "no")),
      /got 1 and then no score \(REWARD_THREW\)/,
    ],
  ])("that gives %s is named, every time", async (_, score, message) => {
    const { made } = scorer(score);
    for (const again of ["a", "b"]) {
      await expect(made.score([input(again), input("c")])).rejects.toThrow(message);
    }
  });

  test("may miss a deadline, which says nothing of it", async () => {
    const late = failed("REWARD_TIMEOUT", "late", true);
    const { made } = scorer((_, call) => (call === 0 ? late : scored(1)));
    expect(await made.score([input("a")])).toEqual([{ type: "scored", value: 1 }]);
  });
});
