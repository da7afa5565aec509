/**
 * The whole model against PyTorch (transformers): logits, loss, every gradient, and 50 steps of AdamW with clipping,
 * once in the float64 reference evaluator and once in ONNX Runtime, for each member of the family.
 */
import {
  type AdamwState,
  ADAMW_FACTORS,
  adamwFactors,
  adamwGraph,
  adamwReference,
  type ParameterLayout,
  parameterLayout,
} from "@oarlock/nn";
import { evaluate, serializeModel } from "@oarlock/onnx";
import {
  type LackingOperator,
  lackingOperators,
  openOrt,
  type OrtRuntime,
  type OrtTensor,
} from "@oarlock/ort";
import { testedEngine } from "@oarlock/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  FIXTURES,
  flatten,
  gap,
  type LlamaFixture,
  lossGraph,
  positionsOf,
  readFixture,
  unpack,
} from "./llama-fixture.ts";

/** What float32 rounding (PyTorch's, and ONNX Runtime's own) may change; measured about half of each. */
const NOISE =
  testedEngine().provider === "cpu"
    ? { forward: 1e-6, gradient: 1e-5, curve: 2e-6 }
    : { forward: 2e-6, gradient: 2e-5, curve: 4e-6 };

/** One way to run the graphs: a forward and backward pass, and an optimizer step over all stretches. */
interface Engine {
  /** Loss, logits and the flat gradient at these weights. */
  pass(
    weights: Float32Array | Float64Array,
  ): Promise<{ loss: number; logits: ArrayLike<number>; gradient: ArrayLike<number> }>;
}

function evaluatorEngine(fixture: LlamaFixture, layout: ParameterLayout): Engine {
  const graph = lossGraph(fixture);
  const [B, T] = [fixture.rows, fixture.length];
  return {
    async pass(weights) {
      const feeds = Object.fromEntries(
        layout.views.map(({ name, shape, offset, size }) => [
          name,
          { shape, data: weights.subarray(offset, offset + size) },
        ]),
      );
      const results = evaluate(graph, {
        ...feeds,
        ids: { shape: [B, T], data: fixture.ids },
        positions: { shape: [B, T], data: positionsOf(fixture) },
        targets: { shape: [B * T], data: fixture.targets },
        weight: { shape: [B * T], data: fixture.weight },
      });
      const gradient = new Float64Array(layout.length);
      for (const { name, offset } of layout.views) gradient.set(results[`d.${name}`]!.data, offset);
      return { loss: results["loss"]!.data[0]!, logits: results["logits"]!.data, gradient };
    },
  };
}

async function ortEngine(
  runtime: OrtRuntime,
  fixture: LlamaFixture,
  layout: ParameterLayout,
  without: readonly LackingOperator[] = lackingOperators(runtime.provider),
): Promise<Engine> {
  const session = await runtime.createSession(serializeModel(lossGraph(fixture, without)));
  const [B, T, V] = [fixture.rows, fixture.length, fixture.config.vocabSize];
  const integers = (shape: readonly number[], values: readonly number[]): OrtTensor =>
    runtime.tensor("int64", shape, BigInt64Array.from(values, BigInt));
  return {
    async pass(weights) {
      const flat = Float32Array.from(weights);
      const gradient = new Float32Array(layout.length);
      const view = (array: Float32Array): [string, OrtTensor][] =>
        layout.views.map(({ name, shape, offset, size }) => [
          name,
          runtime.tensor("float32", shape, array.subarray(offset, offset + size)),
        ]);
      const loss = new Float32Array(1);
      const logits = new Float32Array(B * T * V);
      const inputs = {
        ...Object.fromEntries(view(flat)),
        ids: integers([B, T], fixture.ids),
        positions: integers([B, T], positionsOf(fixture)),
        targets: integers([B * T], fixture.targets),
        weight: runtime.tensor("float32", [B * T], Float32Array.from(fixture.weight)),
      };
      const outputs = {
        ...Object.fromEntries(view(gradient).map(([name, tensor]) => [`d.${name}`, tensor])),
        loss: runtime.tensor("float32", [], loss),
        logits: runtime.tensor("float32", [B * T, V], logits),
      };
      await session.run(session.bind(inputs, outputs));
      return { loss: loss[0]!, logits, gradient };
    },
  };
}

let runtime: OrtRuntime;
beforeAll(async () => {
  runtime = await openOrt({ ...testedEngine(), threads: 1 });
});
afterAll(() => runtime.close());

/** Operators of training that some provider lacks: without them the graph is another one for the same numbers. */
const FUSED = ["FusedMatMul", "SimplifiedLayerNormalization"] as const;

async function engines(fixture: LlamaFixture, layout: ParameterLayout) {
  return {
    evaluator: evaluatorEngine(fixture, layout),
    "ONNX Runtime": await ortEngine(runtime, fixture, layout),
    "ONNX Runtime, plain operators": await ortEngine(runtime, fixture, layout, FUSED),
  };
}

/** √Σg² over the flat gradient. */
const norm = (gradient: ArrayLike<number>): number => Math.hypot(...Array.from(gradient));

describe.each(FIXTURES)("%s", (name) => {
  const fixture = readFixture(name);
  const layout = parameterLayout(fixture.config);
  const initial = flatten(fixture.parameters, layout);
  const expected = flatten(fixture.gradients, layout);

  it.each(["evaluator", "ONNX Runtime", "ONNX Runtime, plain operators"] as const)(
    "logits, loss and every gradient: %s",
    async (which) => {
      const { loss, logits, gradient } = await (await engines(fixture, layout))[which].pass(initial);
      expect(Math.abs(loss - fixture.loss) / fixture.loss).toBeLessThan(NOISE.forward);
      expect(gap(logits, unpack(fixture.logits))).toBeLessThan(NOISE.forward);
      for (const { name: parameter, offset, size } of layout.parameters) {
        const own = Array.from(gradient).slice(offset, offset + size);
        const distance = gap(own, expected.subarray(offset, offset + size));
        expect({ parameter, close: distance < NOISE.gradient }).toMatchObject({
          parameter,
          close: true,
        });
      }
    },
  );

  it("50 steps of AdamW: evaluator, in float64", async () => {
    const { evaluator } = await engines(fixture, layout);
    let state: AdamwState = {
      weights: Float64Array.from(initial),
      first: new Float64Array(layout.length),
      second: new Float64Array(layout.length),
    };
    for (const [step, loss] of fixture.losses.entries()) {
      const result = await evaluator.pass(state.weights);
      expect(Math.abs(result.loss - loss)).toBeLessThan(NOISE.curve);
      expect(norm(result.gradient)).toBeCloseTo(fixture.gradientNorms[step]!, 3);
      const factors = (weightDecay: number) =>
        adamwFactors({ ...fixture.adamw, weightDecay }, step + 1, norm(result.gradient));
      const decayed = adamwReference(state, result.gradient, factors(fixture.adamw.weightDecay));
      const plain = adamwReference(state, result.gradient, factors(0));
      state = {
        ...decayed,
        weights: decayed.weights.map((w, i) => (i < layout.decayLength ? w : plain.weights[i]!)),
      };
    }
    expect(gap(state.weights, flatten(fixture.trained, layout))).toBeLessThan(NOISE.curve);
  });

  it("50 steps of AdamW: ONNX Runtime, state updated in place", async () => {
    const engine = (await engines(fixture, layout))["ONNX Runtime"];
    const adamw = await runtime.createSession(serializeModel(adamwGraph()));
    const weights = initial.slice();
    const [first, second] = [new Float32Array(layout.length), new Float32Array(layout.length)];
    const boundary = layout.decayLength;
    for (const [step, loss] of fixture.losses.entries()) {
      const result = await engine.pass(weights);
      expect(Math.abs(result.loss - loss)).toBeLessThan(NOISE.curve);
      for (const [from, to, weightDecay] of [
        [0, boundary, fixture.adamw.weightDecay],
        [boundary, layout.length, 0],
      ] as const) {
        const stretch = (array: Float32Array): OrtTensor =>
          runtime.tensor("float32", [to - from], array.subarray(from, to));
        const factors = adamwFactors({ ...fixture.adamw, weightDecay }, step + 1, norm(result.gradient));
        const scalars = ADAMW_FACTORS.map((key) => [
          key,
          runtime.tensor("float32", [], Float32Array.of(factors[key])),
        ]);
        const [w, m, v] = [stretch(weights), stretch(first), stretch(second)];
        const gradients = stretch(Float32Array.from(result.gradient));
        const inputs = { ...Object.fromEntries(scalars), weights: w, gradients, first: m, second: v };
        await adamw.run(adamw.bind(inputs, { weightsNext: w, firstNext: m, secondNext: v }));
      }
    }
    expect(gap(weights, flatten(fixture.trained, layout))).toBeLessThan(NOISE.curve);
  });
});
