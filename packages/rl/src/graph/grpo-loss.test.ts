/** The graph's objective against the plain formulas, over random tokens and settings; and its independence of splits. */
import { fc, test } from "@fast-check/vitest";
import { createGraph, evaluate } from "@oarlock/onnx";
import { describe, expect } from "vitest";
import { tokenWeights } from "../aggregation.ts";
import { KL_ESTIMATORS, klEstimate } from "../kl.ts";
import { surrogateLoss } from "../policy-loss.ts";
import { grpoLoss, type GrpoLossSettings, type GrpoTokens } from "./grpo-loss.ts";
import { sftLoss } from "./sft-loss.ts";

const NAMES = [
  "logprobs",
  "oldLogprobs",
  "refLogprobs",
  "advantages",
  "importance",
  "weight",
  "entropy",
] as const;
type Token = Record<(typeof NAMES)[number], number>;

const number = (min: number, max: number) => fc.double({ min, max, noNaN: true });
const token = fc.record({
  logprobs: number(-30, 0),
  oldLogprobs: number(-30, 0),
  refLogprobs: number(-30, 0),
  advantages: number(-3, 3),
  importance: number(0, 5),
  weight: number(0, 1),
  entropy: number(0, 4),
});
/** Constants of a graph are float32: these are exact in it, so that the comparison can be in float64. */
const sixteenths = (min: number, max: number) => fc.integer({ min, max }).map((n) => n / 16);
const settings = fc.record({
  clip: fc.record({ low: sixteenths(1, 15), high: sixteenths(1, 160), dual: fc.constantFrom(0, 3) }),
  klCoefficient: fc.constantFrom(0, 1 / 16),
  klEstimator: fc.constantFrom(...KL_ESTIMATORS),
  entropyCoefficient: fc.constantFrom(0, 1 / 64),
});

/** The graph's outputs for these tokens. */
function run(tokens: readonly Token[], choice: GrpoLossSettings): Record<string, number> {
  const graph = createGraph("objective");
  const values = Object.fromEntries(
    NAMES.map((name) => [name, graph.input(name, "float32", [tokens.length])]),
  );
  const { loss, sums } = grpoLoss(values as unknown as GrpoTokens, choice); // NAMES are GrpoTokens' keys
  graph.output("loss", loss);
  for (const [name, value] of Object.entries(sums)) graph.output(name, value);
  const feeds = NAMES.map((name) => [name, { shape: [tokens.length], data: tokens.map((one) => one[name]) }]);
  const results = evaluate(graph, Object.fromEntries(feeds));
  return Object.fromEntries(Object.entries(results).map(([name, { data }]) => [name, Number(data[0])]));
}

const sum = (tokens: readonly Token[], of: (token: Token) => number): number =>
  tokens.reduce((total, one) => total + one.weight * of(one), 0);

/** Equal up to the rounding of sums of these tokens, whose terms may be as large as e^20 and cancel. */
function expectClose(actual: number | undefined, expected: number, tokens: readonly Token[]): void {
  const size = (gap: number): number => Math.exp(Math.min(Math.abs(gap), 20));
  const scale = tokens.reduce(
    (total, one) =>
      total +
      3 * (1 + one.importance) * size(one.logprobs - one.oldLogprobs) +
      size(one.logprobs - one.refLogprobs),
    1,
  );
  expect(Math.abs((actual ?? Number.NaN) - expected)).toBeLessThanOrEqual(1e-13 * scale);
}

describe("grpoLoss", () => {
  test.prop([fc.array(token, { minLength: 1, maxLength: 20 }), settings])(
    "is the plain formula, term by term",
    (tokens, choice) => {
      const result = run(tokens, choice);
      const policy = sum(
        tokens,
        (one) =>
          one.importance *
          surrogateLoss(
            { logprob: one.logprobs, oldLogprob: one.oldLogprobs, advantage: one.advantages },
            choice.clip,
          ),
      );
      const kl = sum(tokens, (one) => klEstimate(choice.klEstimator, one.logprobs - one.refLogprobs));
      const entropy = sum(tokens, (one) => one.entropy);
      expectClose(result["policyLoss"], policy, tokens);
      expectClose(result["refKl"], kl, tokens);
      expectClose(
        result["loss"],
        policy + choice.klCoefficient * kl - choice.entropyCoefficient * entropy,
        tokens,
      );
    },
  );

  test.prop([fc.array(token, { minLength: 2, maxLength: 20 }), settings, fc.nat()])(
    "of a batch is the sum of those of its parts, every sum alike",
    (tokens, choice, where) => {
      const at = 1 + (where % (tokens.length - 1));
      const [whole, left, right] = [tokens, tokens.slice(0, at), tokens.slice(at)].map((part) =>
        run(part, choice),
      );
      for (const [name, value] of Object.entries(whole ?? {})) {
        expectClose((left?.[name] ?? Number.NaN) + (right?.[name] ?? Number.NaN), value, tokens);
      }
    },
  );

  test("refuses a KL term without reference log-probs", () => {
    const graph = createGraph("objective");
    const value = graph.input("x", "float32", [1]);
    const tokens = { logprobs: value, oldLogprobs: value, advantages: value, weight: value };
    expect(() => grpoLoss(tokens, { clip: { low: 0.2, high: 0.2 }, klCoefficient: 0.1 })).toThrow(
      /refLogprobs/,
    );
    expect(() => grpoLoss(tokens, { clip: { low: 0.2, high: 0.2 }, entropyCoefficient: 0.1 })).toThrow(
      /entropy/,
    );
  });
});

test("sftLoss with token-mean weights is the mean negative log-likelihood of the masked tokens", () => {
  const masks = [Uint8Array.of(0, 1, 1), Uint8Array.of(0, 0, 1)];
  const weight = tokenWeights(
    "token-mean-global",
    masks.map((mask) => ({ mask })),
  ).flatMap((row) => [...row]);
  const graph = createGraph("sft");
  const input = (name: string) => graph.input(name, "float32", [6]);
  graph.output("loss", sftLoss({ logprobs: input("logprobs"), weight: input("weight") }));
  const logprobs = [-9, -1, -2, -9, -9, -6];
  const { loss } = evaluate(graph, {
    logprobs: { shape: [6], data: logprobs },
    weight: { shape: [6], data: weight },
  });
  expect(Number(loss?.data[0])).toBeCloseTo(3, 6);
});
