/** The graphs over values and preferences against their plain formulas. */
import { fc, test } from "@fast-check/vitest";
import { createGraph, evaluate, type Value } from "@oarlock/onnx";
import { describe, expect } from "vitest";
import { allPairsLoss, bradleyTerryLoss, plackettLuceLoss } from "../preference.ts";
import { pairReport } from "../preference-metrics.ts";
import { valueLoss } from "../value-loss.ts";
import { criticLoss } from "./critic-loss.ts";
import { allPairsGraph, pairLoss, plackettLuceGraph, rankingLoss } from "./preference-loss.ts";

const number = (min: number, max: number) => fc.double({ min, max, noNaN: true });
/** Constants of a graph are float32: these are exact in it. */
const sixteenths = (min: number, max: number) => fc.integer({ min, max }).map((n) => n / 16);
const scalar = (results: Record<string, { data: ArrayLike<number> }>, name: string): number =>
  Number(results[name]?.data[0]);

describe("criticLoss", () => {
  const token = fc.record({
    values: number(-5, 5),
    oldValues: number(-5, 5),
    returns: number(-5, 5),
    weight: number(0, 1),
  });

  test.prop([fc.array(token, { minLength: 1, maxLength: 12 }), sixteenths(0, 16)])(
    "is the plain formula",
    (tokens, clip) => {
      const graph = createGraph("critic");
      const names = ["values", "oldValues", "returns", "weight"] as const;
      const input = (name: string): Value => graph.input(name, "float32", [tokens.length]);
      const values = { values: input("values"), oldValues: input("oldValues") };
      const { loss } = criticLoss({ ...values, returns: input("returns"), weight: input("weight") }, clip);
      graph.output("loss", loss);
      const feeds = names.map((name) => [
        name,
        { shape: [tokens.length], data: tokens.map((one) => one[name]) },
      ]);
      const expected = tokens.reduce(
        (total, { values: value, oldValues: oldValue, returns, weight }) =>
          total + weight * valueLoss({ value, oldValue, return: returns }, clip),
        0,
      );
      expect(scalar(evaluate(graph, Object.fromEntries(feeds)), "loss")).toBeCloseTo(expected, 9);
    },
  );
});

describe("pairLoss", () => {
  const pair = fc.record({ preferred: number(-30, 30), rejected: number(-30, 30), margin: number(0, 2) });

  test.prop([fc.array(pair, { minLength: 1, maxLength: 12 }), sixteenths(0, 4)])(
    "is the mean of Bradley–Terry, its sums the means of lead and accuracy",
    (pairs, centering) => {
      const graph = createGraph("pairs");
      const names = ["preferred", "rejected", "margin", "weight"] as const;
      const [preferred, rejected, margin, weight] = names.map((name) =>
        graph.input(name, "float32", [pairs.length]),
      ) as [Value, Value, Value, Value];
      const { loss, sums } = pairLoss({ preferred, rejected, margin, weight }, centering);
      graph.output("loss", loss);
      for (const [name, value] of Object.entries(sums)) graph.output(name, value);
      const column = (of: (one: (typeof pairs)[number]) => number) => ({
        shape: [pairs.length],
        data: pairs.map(of),
      });
      const results = evaluate(graph, {
        preferred: column((one) => one.preferred),
        rejected: column((one) => one.rejected),
        margin: column((one) => one.margin),
        weight: column(() => 1 / pairs.length),
      });
      const mean = (of: (one: (typeof pairs)[number]) => number) =>
        pairs.reduce((total, one) => total + of(one), 0) / pairs.length;
      const expected = mean((one) =>
        bradleyTerryLoss(one.preferred, one.rejected, { margin: one.margin, centering }),
      );
      expect(Math.abs(scalar(results, "loss") - expected)).toBeLessThan(1e-9 * Math.max(1, expected));
      expect(scalar(results, "lead")).toBeCloseTo(
        mean((one) => one.preferred - one.rejected),
        9,
      );
      expect(scalar(results, "accuracy")).toBeCloseTo(
        mean((one) => (one.preferred > one.rejected ? 1 : 0)),
        9,
      );
    },
  );
});

describe("rankings", () => {
  test.prop([fc.array(number(-20, 20), { minLength: 2, maxLength: 6 })])(
    "Plackett–Luce and all pairs are the plain formulas",
    (ranked) => {
      const graph = createGraph("rankings");
      const scores = graph.input("ranked", "float32", [1, ranked.length]);
      const weight = graph.input("weight", "float32", [1]);
      graph.output("plackettLuce", plackettLuceGraph(scores, weight));
      graph.output("allPairs", allPairsGraph(scores, weight));
      const { sums } = rankingLoss(scores, weight, "all-pairs");
      for (const [name, value] of Object.entries(sums)) graph.output(name, value);
      const results = evaluate(graph, {
        ranked: { shape: [1, ranked.length], data: ranked },
        weight: { shape: [1], data: [1] },
      });
      expect(scalar(results, "plackettLuce")).toBeCloseTo(plackettLuceLoss(ranked), 8);
      expect(scalar(results, "allPairs")).toBeCloseTo(allPairsLoss(ranked), 8);
      const leads = ranked.flatMap((better, i) => ranked.slice(i + 1).map((worse) => better - worse));
      const right = leads.filter((lead) => lead > 0).length / leads.length;
      expect(scalar(results, "accuracy")).toBeCloseTo(right, 6);
      expect(scalar(results, "lead")).toBeCloseTo(leads.reduce((a, b) => a + b) / leads.length, 8);
    },
  );

  test.prop([number(-30, 30), number(-30, 30)])("of two answers are Bradley–Terry", (preferred, rejected) => {
    const pair = bradleyTerryLoss(preferred, rejected);
    expect(plackettLuceLoss([preferred, rejected])).toBeCloseTo(pair, 9);
    expect(allPairsLoss([preferred, rejected])).toBe(pair);
  });
});

describe("pairReport", () => {
  test("counts wins, ties by half, and has every pair in its histogram", () => {
    const report = pairReport([
      { preferred: 2, rejected: 1 },
      { preferred: 1, rejected: 2 },
      { preferred: 0, rejected: 0 },
      { preferred: 5, rejected: 1 },
    ]);
    expect(report.accuracy.mean).toBe(0.625);
    expect(report.meanLead).toBe(1);
    expect(report.margins.reduce((total, { count }) => total + count, 0)).toBe(4);
    expect(report.margins[0]?.from).toBe(-1);
    // Two leads of 1 and −1 are as sure as one another, and half of them right.
    const found = report.reliability.map(({ count, accuracy }) => ({ count, accuracy }));
    expect(found).toEqual([
      { count: 1, accuracy: 0.5 },
      { count: 2, accuracy: 0.5 },
      { count: 1, accuracy: 1 },
    ]);
    expect(report.reliability[1]?.confidence).toBeCloseTo(1 / (1 + Math.exp(-1)), 12);
  });

  test("finds no calibration error where confidence is right, and all of it where it is wrong", () => {
    const lead = Math.log(3); // σ = 0.75
    const pair = (sign: number) => ({ preferred: sign * lead, rejected: 0 });
    expect(pairReport([pair(1), pair(1), pair(1), pair(-1)]).calibrationError).toBeCloseTo(0, 12);
    expect(pairReport([pair(-1), pair(-1)]).calibrationError).toBeCloseTo(0.75, 12);
  });

  test.prop([fc.array(fc.record({ preferred: number(-9, 9), rejected: number(-9, 9) }), { minLength: 1 })])(
    "its loss is the mean of Bradley–Terry",
    (pairs) => {
      const expected =
        pairs.reduce((total, { preferred, rejected }) => total + bradleyTerryLoss(preferred, rejected), 0) /
        pairs.length;
      expect(pairReport(pairs).loss).toBeCloseTo(expected, 9);
    },
  );
});
