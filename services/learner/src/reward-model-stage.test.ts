/** The gate behind a reward model: what no run goes on with. */
import { describe, expect, test } from "vitest";
import type { EvaluationRecord } from "./ports.ts";
import { checkGate, verdictsOf } from "./reward-model-stage.ts";

type Stage = Parameters<typeof checkGate>[0];

/** The gate of a stage of that loss, over one statistic of its held-out rows. */
function gate(loss: Stage["reward-model"]["loss"], minimumAccuracy: number, metrics: Record<string, number>) {
  const stage = { type: "reward-model", name: "rm", "reward-model": { loss, minimumAccuracy } } as Stage;
  const policy = { number: 1, digest: "" };
  const record: EvaluationRecord = { stage: "rm", when: "after", step: 1, policy, metrics };
  return () => checkGate(stage, [record]);
}

describe("the gate of pairs", () => {
  const pairs = (minimum: number, accuracy: number) =>
    gate("bradley-terry", minimum, { "val-core/held-out/rm/accuracy": accuracy });

  test("lets through what reaches the minimum", () => {
    expect(pairs(0.6, 0.6)).not.toThrow();
    expect(pairs(0.6, 0.59)).toThrow(/held-out accuracy is 0\.5900, minimumAccuracy is 0\.6: /);
    expect(pairs(0, 0.1)).not.toThrow();
  });
});

describe("the gate of labelled steps", () => {
  const steps = (minimum: number, balanced?: number) =>
    gate("binary-cross-entropy", minimum, {
      "val-core/held-out/rm/accuracy": 0.9,
      ...(balanced === undefined ? {} : { "val-core/held-out/rm/balanced_accuracy": balanced }),
    });

  test("keeps back what always says right, by its default, and lets through what exceeds it", () => {
    expect(steps(0.5, 0.5)).toThrow(
      /GATE_NOT_PASSED.*held-out balanced accuracy is 0\.5000, minimumAccuracy is 0\.5, which it has to exceed: /,
    );
    expect(steps(0.5, 0.501)).not.toThrow();
    expect(steps(1, 1)).not.toThrow();
  });

  test("says that nothing was measured where right or wrong steps are missing", () => {
    expect(steps(0.5)).toThrow(
      /balanced accuracy was not measured: the held-out steps are all right or all wrong/,
    );
    expect(steps(0)).not.toThrow();
  });
});

test("the verdict on a reward model is the number that its gate looks at", () => {
  const policy = { number: 1, digest: "" };
  const of = (stage: string, metrics: Record<string, number>): EvaluationRecord => ({
    stage,
    when: "after",
    step: 1,
    policy,
    metrics,
  });
  const pairs = of("pairs", { "val-core/held-out/pairs/accuracy": 0.6, "val-aux/pairs/loss": 0.5 });
  const steps = of("steps", {
    "val-core/held-out/steps/accuracy": 0.9,
    "val-core/held-out/steps/balanced_accuracy": 0.7,
  });
  expect(verdictsOf([pairs, steps, of("policy", { reward: 1 })])).toEqual({
    "val-core/held-out/pairs/accuracy": 0.6,
    "val-core/held-out/steps/balanced_accuracy": 0.7,
  });
});
