/** Every rule against central differences in float64, on random tensors. */
import {
  add,
  clip,
  constantLike,
  createGraph,
  cumSum,
  evaluate,
  type EvaluateFeed,
  expandLike,
  fusedMatMul,
  gather,
  gatherElements,
  type Graph,
  greater,
  logSoftmax,
  matMul,
  mul,
  type OpName,
  reduceMean,
  reduceSum,
  reshape,
  scatterAdd,
  slice,
  softmax,
  split,
  squeeze,
  sub,
  transpose,
  unsqueeze,
  type Value,
  where,
} from "@oarlock/onnx";
import { tensor } from "@oarlock/tensor";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { centralDifferences, gradients, relativeGap } from "./index.ts";
import { rules } from "./rules/index.ts";

/** A small deterministic source of numbers in (low, high). */
function numbers(count: number, seed: number, low = -1.5, high = 1.5): Float64Array {
  let state = seed * 2654435761 + 12345;
  return Float64Array.from({ length: count }, () => {
    state = (Math.imul(state ^ (state >>> 15), 2246822519) + 3266489917) >>> 0;
    return low + ((state >>> 8) / 2 ** 24) * (high - low);
  });
}

interface Case {
  readonly op: OpName;
  /** Shapes of the differentiated inputs. */
  readonly shapes: readonly (readonly number[])[];
  readonly build: (inputs: Value[], graph: Graph) => Value;
  /** Where the operator is defined and smooth. Default −1.5 … 1.5. */
  readonly range?: readonly [number, number];
}

const [R, C] = [3, 4];
const unaryCase = (
  op:
    | "Neg"
    | "Exp"
    | "Log"
    | "Sqrt"
    | "Reciprocal"
    | "Sigmoid"
    | "Tanh"
    | "Abs"
    | "Sin"
    | "Cos"
    | "Softplus"
    | "Identity",
  range?: readonly [number, number],
): Case => ({
  op,
  shapes: [[R, C]],
  build: ([x], graph) => graph.one(op, [x], {}),
  ...(range && { range }),
});
const binaryCases = (
  op: "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Max" | "Min",
  range?: readonly [number, number],
): Case[] =>
  [
    [
      [R, C],
      [R, C],
    ],
    [[R, C], [C]],
    [
      [R, 1],
      [2, 1, C],
    ],
    [[], [R, C]],
  ].map((shapes) => ({
    op,
    shapes,
    build: ([a, b], graph) => graph.one(op, [a, b], {}),
    ...(range && { range }),
  }));
const reduceCases = (
  op: "ReduceSum" | "ReduceMean" | "ReduceMax" | "ReduceMin" | "ReduceSumSquare",
): Case[] =>
  [
    { axes: [1], keepdims: 1 as const },
    { axes: [0, -1], keepdims: 0 as const },
    { axes: undefined, keepdims: 0 as const },
  ].map(({ axes, keepdims }) => ({
    op,
    shapes: [[2, R, C]],
    build: ([x], graph) => graph.one(op, [x, axes && graph.integers(axes)], { keepdims }),
  }));
const indices = (graph: Graph, shape: readonly number[], values: readonly number[]): Value =>
  graph.constant(tensor("int64", shape, BigInt64Array.from(values, BigInt)));

const cases: readonly Case[] = [
  unaryCase("Neg"),
  unaryCase("Exp"),
  unaryCase("Log", [0.2, 3]),
  unaryCase("Sqrt", [0.2, 3]),
  unaryCase("Reciprocal", [0.5, 3]),
  unaryCase("Sigmoid"),
  unaryCase("Tanh"),
  unaryCase("Abs"),
  unaryCase("Sin"),
  unaryCase("Cos"),
  unaryCase("Softplus"),
  unaryCase("Identity"),
  ...[1, 1.7].map((alpha): Case => ({
    op: "QuickGelu",
    shapes: [[R, C]],
    build: ([x], graph) => graph.one("QuickGelu", [x], { alpha }),
  })),
  ...binaryCases("Add"),
  ...binaryCases("Sub"),
  ...binaryCases("Mul"),
  ...binaryCases("Div", [0.5, 2]),
  ...binaryCases("Pow", [0.5, 2]),
  ...binaryCases("Max"),
  ...binaryCases("Min"),
  {
    op: "Pow",
    shapes: [[R, C]],
    build: ([x], graph) =>
      graph.one("Pow", [x, graph.constant(tensor("float32", [], Float32Array.of(2)))], {}),
  },
  { op: "Where", shapes: [[R, C], [C]], build: ([a, b]) => where(greater(a!, 0.1), a!, b!) },
  { op: "Clip", shapes: [[R, C]], build: ([x]) => clip(x!, -0.4, 0.7) },
  { op: "Clip", shapes: [[R]], build: ([x], g) => g.one("Clip", [x!, undefined, constantLike(x!, 0.2)], {}) },
  { op: "Clip", shapes: [[C]], build: ([x], g) => g.one("Clip", [x!, constantLike(x!, -0.1)], {}) },
  { op: "Cast", shapes: [[R, C]], build: ([x], graph) => graph.one("Cast", [x], { to: "float64" }) },
  {
    op: "MatMul",
    shapes: [
      [R, C],
      [C, 2],
    ],
    build: ([a, b]) => matMul(a!, b!),
  },
  {
    op: "MatMul",
    shapes: [
      [2, R, C],
      [C, 2],
    ],
    build: ([a, b]) => matMul(a!, b!),
  },
  {
    op: "MatMul",
    shapes: [
      [2, 1, R, C],
      [3, C, 2],
    ],
    build: ([a, b]) => matMul(a!, b!),
  },
  ...[0, 1].flatMap((a) =>
    [0, 1].flatMap((b): Case[] => {
      const flags = { transA: a ? 1 : 0, transB: b ? 1 : 0, alpha: 0.3 } as const;
      const left = a ? [C, R] : [R, C];
      const right = b ? [2, C] : [C, 2];
      return [
        { op: "FusedMatMul", shapes: [left, right], build: ([x, y]) => fusedMatMul(x!, y!, flags) },
        {
          op: "FusedMatMul",
          shapes: [
            [2, ...left],
            [2, ...right],
          ],
          build: ([x, y]) => fusedMatMul(x!, y!, flags),
        },
        { op: "FusedMatMul", shapes: [[2, ...left], right], build: ([x, y]) => fusedMatMul(x!, y!, flags) },
        {
          op: "Gemm",
          shapes: [left, right, [2]],
          build: (inputs, graph) => graph.one("Gemm", inputs, { ...flags, beta: 0.7 }),
        },
      ];
    }),
  ),
  { op: "Reshape", shapes: [[R, C]], build: ([x]) => reshape(x!, [2, -1]) },
  { op: "Transpose", shapes: [[2, R, C]], build: ([x]) => transpose(x!, [2, 0, 1]) },
  {
    op: "Concat",
    shapes: [
      [R, 2],
      [R, 3],
    ],
    build: (inputs, graph) => graph.one("Concat", inputs, { axis: -1 }),
  },
  { op: "Slice", shapes: [[R, C]], build: ([x]) => slice(x!, 1, 1, 3) },
  {
    op: "Slice",
    shapes: [[R, C]],
    build: ([x], g) => g.one("Slice", [x, g.integers([1, -3]), g.integers([3, 100]), g.integers([0, 1])], {}),
  },
  { op: "Split", shapes: [[R, 5]], build: ([x]) => mul(split(x!, [2, 2, 1], 1)[1]!, 3) },
  {
    op: "Split",
    shapes: [[R, 4]],
    build: ([x]) => {
      const [a, b] = split(x!, [2, 2], 1);
      return mul(a!, b!);
    },
  },
  {
    op: "Gather",
    shapes: [[5, C]],
    build: ([x], graph) => gather(x!, indices(graph, [2, 3], [4, 0, 4, 1, 1, 4]), 0),
  },
  { op: "Gather", shapes: [[2, 5]], build: ([x], graph) => gather(x!, indices(graph, [3], [1, 1, -1]), 1) },
  {
    op: "GatherElements",
    shapes: [[R, C]],
    build: ([x], graph) => gatherElements(x!, indices(graph, [R, 2], [0, 3, 1, 1, 2, 0]), 1),
  },
  {
    op: "ScatterElements",
    shapes: [
      [R, C],
      [R, 2],
    ],
    build: ([x, u], graph) => scatterAdd(x!, indices(graph, [R, 2], [0, 3, 1, 1, 2, 0]), u!, 1),
  },
  {
    op: "ScatterElements",
    shapes: [
      [R, C],
      [R, 2],
    ],
    build: ([x, u], graph) =>
      graph.one("ScatterElements", [x, indices(graph, [R, 2], [0, 3, 2, 1, 2, 0]), u], {
        axis: 1,
        reduction: "none",
      }),
  },
  {
    op: "Expand",
    shapes: [[R, 1]],
    build: ([x], graph) => graph.one("Expand", [x, graph.integers([2, R, C])], {}),
  },
  { op: "Unsqueeze", shapes: [[R, C]], build: ([x]) => unsqueeze(x!, [0, -1]) },
  { op: "Squeeze", shapes: [[1, R, 1, C]], build: ([x]) => squeeze(x!, [0, 2]) },
  { op: "Trilu", shapes: [[2, R, C]], build: ([x], graph) => graph.one("Trilu", [x], { upper: 0 }) },
  ...reduceCases("ReduceSum"),
  ...reduceCases("ReduceMean"),
  ...reduceCases("ReduceMax"),
  ...reduceCases("ReduceMin"),
  ...reduceCases("ReduceSumSquare"),
  {
    op: "TopK",
    shapes: [[R, C]],
    build: ([x], graph) => graph.add("TopK", [x, graph.integers([2])], { axis: 1 })[0]!,
  },
  { op: "CumSum", shapes: [[R, C]], build: ([x]) => cumSum(x!, 1) },
  ...[-1, 0].flatMap((axis): Case[] => [
    { op: "Softmax", shapes: [[R, C]], build: ([x]) => softmax(x!, axis) },
    { op: "LogSoftmax", shapes: [[R, C]], build: ([x]) => logSoftmax(x!, axis) },
  ]),
  {
    op: "SimplifiedLayerNormalization",
    shapes: [[2, R, C], [C]],
    build: (inputs, graph) => graph.add("SimplifiedLayerNormalization", inputs, { epsilon: 1e-5 })[0]!,
  },
  ...([0, 1] as const).flatMap((interleaved): Case[] => {
    const tables = (graph: Graph): Value[] =>
      [Math.cos, Math.sin].map((f) =>
        graph.constant(
          tensor(
            "float32",
            [R, 2],
            Float32Array.from({ length: R * 2 }, (_, i) => f(i + 0.3)),
          ),
        ),
      );
    const positions = (graph: Graph): Value => indices(graph, [2, R], [0, 1, 2, 2, 1, 0]);
    return [
      {
        op: "RotaryEmbedding",
        shapes: [[2, R, 8]],
        build: ([x], g) =>
          g.one("RotaryEmbedding", [x, ...tables(g), positions(g)], { interleaved, num_heads: 2 }),
      },
      {
        op: "RotaryEmbedding",
        shapes: [[2, 2, R, 4]],
        build: ([x], g) => g.one("RotaryEmbedding", [x, ...tables(g), positions(g)], { interleaved }),
      },
    ];
  }),
];

/** The worst relative gap between a case's gradients and central differences; Infinity where a shape is wrong. */
function worstGap({ shapes, build, range }: Case, seed: number): number {
  const graph = createGraph("case");
  const inputs = shapes.map((shape, i) => graph.input(`x${i}`, "float32", shape));
  const y = build([...inputs], graph);
  const weights = graph.input("weights", y.dtype, y.shape);
  const loss = graph.output("loss", reduceSum(mul(y, weights)));
  gradients(loss, inputs).forEach((gradient, i) => graph.output(`dx${i}`, gradient));
  const size = (shape: readonly (number | string)[]): number =>
    shape.reduce<number>((n, dim) => n * Number(dim), 1);
  const feeds: Record<string, EvaluateFeed> = {
    weights: { shape: y.shape.map(Number), data: numbers(size(y.shape), seed + 99) },
  };
  shapes.forEach((shape, i) => {
    feeds[`x${i}`] = { shape, data: numbers(size(shape), seed + i, ...(range ?? [])) };
  });
  const results = evaluate(graph, feeds);
  const gaps = shapes.map((shape, i) => {
    const { shape: found, data } = results[`dx${i}`]!;
    if (found.join() !== shape.join()) return Infinity;
    return relativeGap(data, centralDifferences(graph, { loss: "loss", input: `x${i}`, feeds }));
  });
  return Math.max(...gaps);
}

describe("every rule agrees with central differences in float64", () => {
  for (const one of cases) {
    it(`${one.op} of ${one.shapes.map((shape) => `[${shape.join(",")}]`).join(" ")}`, () => {
      expect(worstGap(one, 3)).toBeLessThan(1e-7);
      expect(worstGap(one, 17)).toBeLessThan(1e-7);
    });
  }

  it("covers every operator that has a rule", () => {
    const ruled = Object.entries(rules).flatMap(([op, rule]) => (rule.kind === "rule" ? [op] : []));
    expect(ruled.filter((op) => !cases.some((one) => one.op === op))).toEqual([]);
  });

  it("through compositions: a value used twice, a thin gradient that meets a full one", () => {
    const twice: Case = {
      op: "Mul",
      shapes: [[R, C]],
      build: ([x]) => add(mul(x!, x!), sub(x!, softmax(x!))),
    };
    const thin: Case = {
      op: "Expand",
      shapes: [[R, C]],
      build: ([x]) => expandLike(reduceMean(x!, { axes: [1], keepdims: true }), x!),
    };
    expect(worstGap(twice, 5)).toBeLessThan(1e-7);
    expect(worstGap(thin, 8)).toBeLessThan(1e-7);
  });

  it("through a table that is read twice and multiplied: scatters onto what is there", () => {
    const build: Case["build"] = ([x], graph) => {
      const rows = gather(x!, indices(graph, [3], [1, 0, 1]), 0);
      const columns = gather(x!, indices(graph, [2], [2, 2]), 1);
      return matMul(rows, matMul(reshape(x!, [C, R]), columns));
    };
    expect(worstGap({ op: "Gather", shapes: [[R, C]], build }, 4)).toBeLessThan(1e-7);
  });

  it("for products of any shape", () => {
    const size = fc.integer({ min: 1, max: 4 });
    fc.assert(
      fc.property(size, size, size, fc.nat(1000), (rows, inner, columns, seed) => {
        const build: Case["build"] = ([a, b]) => matMul(a!, b!);
        expect(
          worstGap(
            {
              op: "MatMul",
              shapes: [
                [rows, inner],
                [inner, columns],
              ],
              build,
            },
            seed,
          ),
        ).toBeLessThan(1e-7);
      }),
    );
  });
});
