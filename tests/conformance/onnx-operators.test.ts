/**
 * Every operator's float64 reference against ONNX Runtime, on random tensors: the evaluator that gradients are checked
 * with means by each operator what the engine means. Inferred shapes are checked too: the engine refuses an output
 * buffer of another shape.
 */
import {
  createGraph,
  evaluate,
  type Graph,
  type OpName,
  operators,
  serializeModel,
  type Value,
} from "@oarlock/onnx";
import { lackingOperators, openOrt, type OrtRuntime } from "@oarlock/ort";
import { testedEngine } from "@oarlock/testkit";
import { bytesPerElement, createTypedArray, type DType, tensor, type TypedArray } from "@oarlock/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

interface Case {
  readonly op: OpName;
  readonly inputs: readonly Fed[];
  readonly build: (graph: Graph, inputs: readonly Value[]) => readonly Value[];
}
interface Fed {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

/** Numbers between low and high that depend on index and seed alone. */
function floats(shape: readonly number[], { seed = 1, low = -1.5, high = 1.5 } = {}): Fed {
  const count = shape.reduce((product, size) => product * size, 1);
  const wave = (i: number): number => (Math.sin(12.9898 * (i + 1) + 78.233 * seed) + 1) / 2;
  return {
    dtype: "float32",
    shape,
    data: Array.from({ length: count }, (_, i) => Math.fround(low + wave(i) * (high - low))),
  };
}
const flags = (shape: readonly number[], data: readonly number[]): Fed => ({ dtype: "bool", shape, data });
const integers = (shape: readonly number[], data: readonly number[]): Fed => ({
  dtype: "int64",
  shape,
  data,
});

const positive = { low: 0.2, high: 3 };
const grid = floats([3, 4]);
const one =
  (op: OpName, attributes: object = {}): Case["build"] =>
  (graph, inputs) =>
    graph.add(op, inputs, attributes as never); // each case below gives its own operator's attributes

const unary = (ops: readonly OpName[], fed: Fed): Case[] =>
  ops.map((op) => ({ op, inputs: [fed], build: one(op) }));
const binary = (ops: readonly OpName[], a: Fed, b: Fed): Case[] =>
  ops.map((op) => ({ op, inputs: [a, b], build: one(op) }));
const reductions = (
  ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSumSquare"] as const
).flatMap((op): Case[] => [
  {
    op,
    inputs: [floats([2, 3, 4])],
    build: (graph, [x]) => graph.add(op, [x, graph.integers([-1, 0])], { keepdims: 0 }),
  },
  {
    op,
    inputs: [floats([2, 3, 4])],
    build: (graph, [x]) => graph.add(op, [x, graph.integers([1])], { keepdims: 1 }),
  },
  { op, inputs: [floats([2, 3, 4])], build: (graph, [x]) => graph.add(op, [x], { keepdims: 0 }) },
]);
const rotations = ([0, 1] as const).flatMap((interleaved): Case[] => {
  const tables = [floats([5, 2], { seed: 2 }), floats([5, 2], { seed: 3 })];
  const positions = integers([2, 3], [0, 1, 2, 4, 3, 0]);
  return [
    {
      op: "RotaryEmbedding",
      inputs: [floats([2, 2, 3, 4]), ...tables, positions],
      build: one("RotaryEmbedding", { interleaved }),
    },
    {
      op: "RotaryEmbedding",
      inputs: [floats([2, 3, 8]), ...tables, positions],
      build: one("RotaryEmbedding", { interleaved, num_heads: 2 }),
    },
  ];
});
const odd = floats([3, 4]).data.map((x, i) => (i === 1 ? Number.NaN : i === 2 ? -Infinity : x));

const cases: readonly Case[] = [
  ...unary(["Neg", "Exp", "Sigmoid", "Tanh", "Abs", "Sin", "Cos", "Softplus", "Identity"], grid),
  ...unary(["Log", "Sqrt", "Reciprocal"], floats([3, 4], positive)),
  ...unary(["IsNaN", "IsInf"], { ...grid, data: odd }),
  ...unary(["Not"], flags([4], [0, 1, 1, 0])),
  ...unary(["Shape"], grid),
  ...binary(
    ["Add", "Sub", "Mul", "Div", "Max", "Min", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"],
    grid,
    floats([3, 1], { seed: 4 }),
  ),
  ...binary(["Equal"], integers([4], [1, 2, 3, 4]), integers([4], [1, 0, 3, 0])),
  ...binary(["Pow"], floats([3, 4], positive), floats([4], { seed: 4 })),
  ...binary(["And", "Or"], flags([4], [0, 1, 0, 1]), flags([4], [0, 0, 1, 1])),
  { op: "QuickGelu", inputs: [grid], build: one("QuickGelu", { alpha: 1.5 }) },
  { op: "Where", inputs: [flags([3, 1], [1, 0, 1]), grid, floats([4], { seed: 5 })], build: one("Where") },
  {
    op: "Clip",
    inputs: [grid, floats([], { low: -0.5, high: -0.4 }), floats([], { low: 0.4, high: 0.5 })],
    build: one("Clip"),
  },
  ...(["float64", "int64", "int32", "bool"] as const).map((to): Case => ({
    op: "Cast",
    inputs: [floats([3, 4], { low: -9, high: 9 })],
    build: one("Cast", { to }),
  })),
  { op: "MatMul", inputs: [floats([2, 3, 4]), floats([4, 5], { seed: 2 })], build: one("MatMul") },
  {
    op: "FusedMatMul",
    inputs: [floats([2, 4, 3]), floats([2, 5, 4], { seed: 2 })],
    build: one("FusedMatMul", { transA: 1, transB: 1, alpha: 0.5 }),
  },
  {
    op: "Gemm",
    inputs: [floats([4, 3]), floats([4, 5], { seed: 2 }), floats([5], { seed: 3 })],
    build: one("Gemm", { transA: 1, alpha: 0.5, beta: 2 }),
  },
  {
    op: "Reshape",
    inputs: [grid],
    build: (graph, [x]) => graph.add("Reshape", [x, graph.integers([0, 2, -1])], {}),
  },
  { op: "Transpose", inputs: [floats([2, 3, 4])], build: one("Transpose", { perm: [2, 0, 1] }) },
  { op: "Concat", inputs: [grid, floats([3, 2], { seed: 2 })], build: one("Concat", { axis: -1 }) },
  {
    op: "Slice",
    inputs: [grid],
    build: (g, [x]) => g.add("Slice", [x, g.integers([1, -3]), g.integers([9, -1]), g.integers([0, 1])], {}),
  },
  {
    op: "Split",
    inputs: [grid],
    build: (graph, [x]) => graph.add("Split", [x, graph.integers([1, 3])], { axis: -1 }),
  },
  {
    op: "Gather",
    inputs: [floats([2, 5, 3]), integers([2, 2], [4, 0, -1, 1])],
    build: one("Gather", { axis: 1 }),
  },
  {
    op: "GatherElements",
    inputs: [grid, integers([3, 2], [0, 3, -1, 1, 2, 0])],
    build: one("GatherElements", { axis: 1 }),
  },
  ...(["add", "none"] as const).map((reduction): Case => ({
    op: "ScatterElements",
    inputs: [
      grid,
      integers([3, 2], reduction === "add" ? [1, 1, -1, 1, 2, 2] : [1, 0, -1, 1, 2, 3]),
      floats([3, 2], { seed: 6 }),
    ],
    build: one("ScatterElements", { axis: 1, reduction }),
  })),
  {
    op: "Expand",
    inputs: [floats([3, 1])],
    build: (graph, [x]) => graph.add("Expand", [x, graph.integers([2, 1, 4])], {}),
  },
  {
    op: "Unsqueeze",
    inputs: [grid],
    build: (graph, [x]) => graph.add("Unsqueeze", [x, graph.integers([0, -1])], {}),
  },
  {
    op: "Squeeze",
    inputs: [floats([1, 3, 1])],
    build: (graph, [x]) => graph.add("Squeeze", [x, graph.integers([0, -1])], {}),
  },
  {
    op: "ConstantOfShape",
    inputs: [grid],
    build: (graph, [x]) => graph.add("ConstantOfShape", graph.add("Shape", [x], {}), {}),
  },
  ...([0, 1] as const).map((upper): Case => ({
    op: "Trilu",
    inputs: [floats([2, 3, 4])],
    build: one("Trilu", { upper }),
  })),
  ...reductions,
  { op: "ArgMax", inputs: [grid], build: one("ArgMax", { axis: 1, keepdims: 0 }) },
  {
    op: "TopK",
    inputs: [grid],
    build: (graph, [x]) => graph.add("TopK", [x, graph.integers([2])], { axis: 1 }),
  },
  {
    op: "CumSum",
    inputs: [grid],
    build: (graph, [x]) =>
      graph.add("CumSum", [x, graph.constant(tensor("int64", [], BigInt64Array.of(1n)))], {}),
  },
  ...([0, -1] as const).flatMap((axis) => [
    { op: "Softmax" as const, inputs: [grid], build: one("Softmax", { axis }) },
    { op: "LogSoftmax" as const, inputs: [grid], build: one("LogSoftmax", { axis }) },
  ]),
  {
    op: "SimplifiedLayerNormalization",
    inputs: [floats([2, 3, 4]), floats([4], { seed: 2 })],
    build: one("SimplifiedLayerNormalization", { epsilon: 1e-3 }),
  },
  ...rotations,
];

/** Compared elsewhere: decoding against the training graph, in packages/generation. */
const DECODING_ONLY: readonly OpName[] = ["TensorScatter", "Attention", "GroupQueryAttention"];

let runtime: OrtRuntime;
beforeAll(async () => {
  runtime = await openOrt({ ...testedEngine(), threads: 1 });
});
afterAll(() => runtime.close());

function typed({ dtype, data }: Fed): TypedArray {
  const array = createTypedArray(dtype, data.length);
  data.forEach((value, i) => (array[i] = array instanceof BigInt64Array ? BigInt(value) : value));
  return array;
}

/** The largest difference, against the largest element; NaN where one is not a number. */
function worst(actual: readonly number[], expected: Float64Array): number {
  const size = Math.max(1, ...expected.map(Math.abs));
  return Math.max(...actual.map((value, i) => Math.abs(value - expected[i]!))) / size;
}

/** Composed of others on the tested provider. */
const lacking = new Set<OpName>(lackingOperators(testedEngine().provider));

describe("reference and engine agree", () => {
  for (const [number, { op, inputs, build }] of cases.entries()) {
    it.skipIf(op === "SimplifiedLayerNormalization" && lacking.has(op))(`${op} (${number})`, async () => {
      const graph = createGraph(op);
      const values = inputs.map(({ dtype, shape }, i) => graph.input(`x${i}`, dtype, shape));
      const results = build(graph, values);
      results.forEach((value, i) => graph.output(`y${i}`, value));
      const expected = evaluate(graph, Object.fromEntries(inputs.map((fed, i) => [`x${i}`, fed])));

      const session = await runtime.createSession(serializeModel(graph));
      const outputs = Object.fromEntries(
        results.map(({ dtype, shape }, i) => [`y${i}`, runtime.tensor(dtype, shape.map(Number))]),
      );
      const feeds = inputs.map(
        (fed, i) => [`x${i}`, runtime.tensor(fed.dtype, fed.shape, typed(fed))] as const,
      );
      await session.run(session.bind(Object.fromEntries(feeds), outputs));

      for (const [name, { data, dtype, byteLength }] of Object.entries(outputs)) {
        expect(byteLength).toBe(expected[name]!.data.length * bytesPerElement(dtype));
        expect(worst(Array.from(data, Number), expected[name]!.data)).toBeLessThan(2e-6);
      }
      await session.close();
    });
  }

  it("covers every operator but those of decoding", () => {
    const covered = new Set<string>([...cases.map(({ op }) => op), ...DECODING_ONLY]);
    expect(Object.keys(operators).filter((op) => !covered.has(op))).toEqual([]);
  });
});
