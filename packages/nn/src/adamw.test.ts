/** AdamW against a transcription of PyTorch's formula, and the graph against the float64 form. */
import { evaluate } from "@oarlock/onnx";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ADAMW_FACTORS,
  adamwFactors,
  adamwGraph,
  adamwReference,
  type AdamwSettings,
  type AdamwState,
  clipScale,
  sumOfSquaresGraph,
} from "./adamw.ts";

const settings: AdamwSettings = {
  learningRate: 3e-3,
  beta1: 0.9,
  beta2: 0.99,
  epsilon: 1e-8,
  weightDecay: 0.1,
  maxGradNorm: 1,
};
const wave = (count: number, seed: number): Float64Array =>
  Float64Array.from({ length: count }, (_, i) => Math.sin(12.9898 * (i + 1) + 78.233 * seed));
const norm = (g: Float64Array): number => Math.hypot(...g);

/** torch.optim.AdamW and clip_grad_norm_, line by line. */
function textbook(
  s: AdamwSettings,
  step: number,
  state: { w: number; m: number; v: number; g: number },
  total: number,
) {
  const g = state.g * Math.min(1, s.maxGradNorm / (total + 1e-6));
  const w = state.w * (1 - s.learningRate * s.weightDecay);
  const m = s.beta1 * state.m + (1 - s.beta1) * g;
  const v = s.beta2 * state.v + (1 - s.beta2) * g * g;
  const denominator = Math.sqrt(v) / Math.sqrt(1 - s.beta2 ** step) + s.epsilon;
  return { w: w - (s.learningRate / (1 - s.beta1 ** step)) * (m / denominator), m, v };
}

describe("AdamW", () => {
  it("is the textbook's, over 20 steps", () => {
    let state: AdamwState = { weights: wave(8, 1), first: new Float64Array(8), second: new Float64Array(8) };
    let expected = [...state.weights].map((w) => ({ w, m: 0, v: 0 }));
    for (let step = 1; step <= 20; step++) {
      const g = wave(8, step + 1);
      expected = expected.map((each, i) => textbook(settings, step, { ...each, g: g[i]! }, norm(g)));
      state = adamwReference(state, g, adamwFactors(settings, step, norm(g)));
    }
    expected.forEach(({ w, m, v }, i) => {
      expect(state.weights[i]).toBeCloseTo(w, 12);
      expect(state.first[i]).toBeCloseTo(m, 12);
      expect(state.second[i]).toBeCloseTo(v, 12);
    });
  });

  it("is the same as a graph", () => {
    const factors = adamwFactors(settings, 3, 2.5);
    const state = { weights: wave(8, 1), first: wave(8, 2), second: wave(8, 3).map(Math.abs) };
    const gradients = wave(8, 4);
    const stretch = (data: Float64Array) => ({ shape: [8], data });
    const results = evaluate(adamwGraph(), {
      weights: stretch(state.weights),
      first: stretch(state.first),
      second: stretch(state.second),
      gradients: stretch(gradients),
      ...Object.fromEntries(ADAMW_FACTORS.map((name) => [name, { shape: [], data: [factors[name]] }])),
    });
    const expected = adamwReference(state, gradients, factors);
    for (const name of ["weights", "first", "second"] as const) {
      results[`${name}Next`]!.data.forEach((value, i) => expect(value).toBeCloseTo(expected[name][i]!, 12));
    }
  });

  it("reads every element of the state before it writes it, so that outputs may lie over inputs", () => {
    const graph = adamwGraph();
    for (const name of ["weights", "first", "second"]) {
      const input = graph.inputs.find(({ value }) => value.name === name)!.value;
      const output = graph.outputs.find((each) => each.name === `${name}Next`)!.value;
      const readers = graph.nodes.filter((node) => node.inputs.includes(input));
      const before = new Set(ancestors(output));
      expect(readers.filter((node) => !before.has(node))).toEqual([]);
    }
  });

  it("leaves a gap of the flat array at zero", () => {
    const zero = { weights: new Float64Array(2), first: new Float64Array(2), second: new Float64Array(2) };
    expect(adamwReference(zero, [0, 0], adamwFactors(settings, 1, 0))).toEqual(zero);
  });

  it("scales gradients down to the norm, never up", () => {
    const positive = fc.double({ min: 1e-6, max: 1e6, noNaN: true });
    fc.assert(
      fc.property(positive, positive, (max, total) => {
        expect(clipScale(max, total) * total).toBeLessThanOrEqual(Math.min(max, total) * (1 + 1e-9));
      }),
    );
    expect(clipScale(0, 5)).toBe(1);
    expect(clipScale(Infinity, 5)).toBe(1);
  });

  it("finds the sum of squares", () => {
    const g = wave(9, 4);
    const { sumOfSquares } = evaluate(sumOfSquaresGraph(), { gradients: { shape: [9], data: g } });
    expect(sumOfSquares!.data[0]).toBeCloseTo(norm(g) ** 2, 12);
  });
});

type Graph = ReturnType<typeof adamwGraph>;
type Node = Graph["nodes"][number];
/** The nodes that `value` rests on. */
function ancestors(value: Graph["outputs"][number]["value"]): Node[] {
  const node = value.producer;
  return node ? [node, ...node.inputs.flatMap((input) => (input ? ancestors(input) : []))] : [];
}
