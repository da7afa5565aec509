/** The loss over labelled steps as a graph, and what held-out steps say, against their plain formulas. */
import { fc, test } from "@fast-check/vitest";
import { createGraph, evaluate, type Value } from "@oarlock/onnx";
import { describe, expect } from "vitest";
import { stepLoss } from "../step-loss.ts";
import { stepReport } from "../step-metrics.ts";
import { stepLossGraph } from "./step-loss.ts";

const step = fc.record({
  score: fc.double({ min: -40, max: 40, noNaN: true }),
  label: fc.integer({ min: 0, max: 8 }).map((eighths) => eighths / 8),
});

describe("the loss over labelled steps", () => {
  test.prop([fc.array(step, { minLength: 1, maxLength: 12 })])(
    "is the mean of binary cross-entropies, its sums the means of lead and accuracy",
    (steps) => {
      const graph = createGraph("steps");
      const names = ["scores", "labels", "weight"] as const;
      const [scores, labels, weight] = names.map((name) => graph.input(name, "float32", [steps.length])) as [
        Value,
        Value,
        Value,
      ];
      const { loss, sums } = stepLossGraph({ scores, labels, weight });
      graph.output("loss", loss);
      for (const [name, value] of Object.entries(sums)) graph.output(name, value);
      const column = (of: (one: (typeof steps)[number]) => number) => ({
        shape: [steps.length],
        data: steps.map(of),
      });
      const results = evaluate(graph, {
        scores: column(({ score }) => score),
        labels: column(({ label }) => label),
        weight: column(() => 1 / steps.length),
      });
      const report = stepReport(steps);
      const mean = steps.reduce((total, one) => total + stepLoss(one), 0) / steps.length;
      const found = (name: string): number => Number(results[name]?.data[0]);
      expect(Math.abs(found("loss") - mean)).toBeLessThan(1e-9 * Math.max(1, mean));
      expect(report.loss).toBeCloseTo(mean, 9);
      expect(found("lead")).toBeCloseTo(report.meanLead, 6);
      const ties = steps.filter(({ score }) => score === 0).length;
      expect(found("accuracy")).toBeCloseTo(report.accuracy.mean - ties / 2 / steps.length, 6);
    },
  );

  test("is −log p of what the label says", () => {
    expect(stepLoss({ score: Math.log(3), label: 1 })).toBeCloseTo(-Math.log(0.75), 12);
    expect(stepLoss({ score: Math.log(3), label: 0 })).toBeCloseTo(-Math.log(0.25), 12);
    expect(stepLoss({ score: 0, label: 0.3 })).toBeCloseTo(Math.LN2, 12);
  });
});

describe("the report of held-out steps", () => {
  const steps = (right: readonly number[], wrong: readonly number[]) => [
    ...right.map((score) => ({ score, label: 1 })),
    ...wrong.map((score) => ({ score, label: 0 })),
  ];

  test("tells right and wrong steps apart: what always says right is no better than chance", () => {
    expect(stepReport(steps([1, 2, 3], [1]))).toMatchObject({
      accuracy: { mean: 0.75 },
      rightShare: 0.75,
      accuracyRight: 1,
      accuracyWrong: 0,
      balancedAccuracy: 0.5,
      f1Wrong: 0,
    });
    // Of four found wrong two are: precision ½; two of the three that are wrong are found: recall ⅔.
    expect(stepReport(steps([5, -1, -1], [-1, -1, 1])).f1Wrong).toBeCloseTo(4 / 7, 12);
  });

  test("has no accuracy of what is not there", () => {
    expect(stepReport(steps([1, -1], []))).not.toHaveProperty("accuracyWrong");
    for (const one of [steps([1, -1], []), steps([], [1]), []])
      expect(stepReport(one)).not.toHaveProperty("balancedAccuracy");
    expect(stepReport([])).toMatchObject({ loss: 0, rightShare: 0 });
  });

  test("finds no calibration error where probabilities are frequencies", () => {
    const score = Math.log(3); // σ = 0.75
    expect(stepReport(steps([score, score, score], [score])).calibrationError).toBeCloseTo(0, 12);
    expect(stepReport(steps([], [score])).calibrationError).toBeCloseTo(0.75, 12);
  });
});
