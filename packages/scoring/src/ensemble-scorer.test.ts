/** Ensembles: how scores of members become one, and that a missing one is no score (S1). */
import { failed, scored } from "@oarlock/rewards";
import { expect, test } from "vitest";
import { createEnsembleScorer } from "./ensemble-scorer.ts";
import type { BatchScorer } from "./model-scorer.ts";

const member = (value: number | undefined, version: string): BatchScorer => ({
  info: { name: version, version, deterministic: true, optional: false },
  score: async (inputs) =>
    inputs.map(() => (value === undefined ? failed("GONE", "no model") : scored(value))),
  close: async () => undefined,
});
const input = {
  prompt: "",
  completion: "",
  completionTokens: 0,
  fields: {},
  truncated: false,
  tokens: Int32Array.of(1),
};

test.each<["mean" | "min" | "mean-variance", number, (number | undefined)[], number | string]>([
  ["mean", 0, [1, 2, 6], 3],
  ["min", 0, [1, -2, 6], -2],
  ["mean-variance", 0.5, [1, 3], 1.5],
  ["mean-variance", 0, [1, 3], 2],
  ["mean", 0, [1, undefined], "GONE"],
])("%s with λ = %d of %j", async (combine, lambda, values, expected) => {
  const members = values.map((value, i) => member(value, `sha256:${i}`));
  const scorer = createEnsembleScorer({ name: "all", optional: false, combine, lambda, members });
  const [verdict] = await scorer.score([input]);
  expect(verdict?.type === "scored" ? verdict.value : verdict?.code).toBe(expected);
  expect(scorer.info.version).toBe(values.map((_, i) => `sha256:${i}`).join("+"));
});
