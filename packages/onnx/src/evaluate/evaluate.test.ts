/** The evaluator on hand-computed cases, and its agreement with shape inference. Gradients test it further. */
import { tensor } from "@oarlock/tensor";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  add,
  argMax,
  cast,
  createGraph,
  cumSum,
  type Dense,
  evaluate,
  expandLike,
  gather,
  gatherElements,
  type Graph,
  isNaN as isNotANumber,
  logSoftmax,
  matMul,
  reduceMax,
  reduceSum,
  reshape,
  scatterAdd,
  slice,
  softmax,
  split,
  transpose,
  unsqueeze,
  type Value,
  where,
} from "../index.ts";

/** `build` of a float32 input with these elements. */
function run(
  shape: readonly number[],
  data: readonly number[],
  build: (x: Value, graph: Graph) => Value,
): Dense {
  const graph = createGraph("case");
  graph.output("y", build(graph.input("x", "float32", shape), graph));
  return evaluate(graph, { x: { shape, data } })["y"]!;
}
const integers = (graph: Graph, shape: readonly number[], values: readonly number[]): Value =>
  graph.constant(tensor("int64", shape, BigInt64Array.from(values, BigInt)));

describe("hand-computed", () => {
  const grid = [1, 2, 3, 4, 5, 6];
  const cases: Record<string, [(x: Value, graph: Graph) => Value, readonly number[]]> = {
    transpose: [(x) => transpose(x, [1, 0]), [1, 4, 2, 5, 3, 6]],
    "broadcast add": [
      (x, g) => add(x, g.constant(tensor("float32", [2, 1], Float32Array.of(10, 20)))),
      [11, 12, 13, 24, 25, 26],
    ],
    slice: [(x) => slice(x, 1, 1, 3), [2, 3, 5, 6]],
    split: [(x) => split(x, [1, 2], 1)[1]!, [2, 3, 5, 6]],
    "gather rows, from the end too": [(x, g) => gather(x, integers(g, [2], [-1, 0]), 0), [4, 5, 6, 1, 2, 3]],
    "gather elements": [(x, g) => gatherElements(x, integers(g, [2, 1], [2, 0]), 1), [3, 4]],
    "scatter adds duplicates": [
      (x, g) => scatterAdd(x, integers(g, [2, 2], [0, 0, 1, 2]), add(slice(x, 1, 0, 2), 0), 1),
      [4, 2, 3, 4, 9, 11],
    ],
    "running sum": [(x) => cumSum(x, 1), [1, 3, 6, 4, 9, 15]],
    "index of the largest": [(x) => argMax(x, 1), [2, 2]],
    "sum over rows": [(x) => reduceSum(x, { axes: [0] }), [5, 7, 9]],
    "largest of all": [(x) => reduceMax(x), [6]],
    "expand a column": [(x) => expandLike(slice(x, 1, 0, 1), x), [1, 1, 1, 4, 4, 4]],
    product: [(x) => matMul(x, transpose(x, [1, 0])), [14, 32, 32, 77]],
    "whole part": [(x) => cast(add(x, 0.7), "int64"), [1, 2, 3, 4, 5, 6]],
  };
  it.each(Object.keys(cases))("%s", (name) => {
    const [build, expected] = cases[name]!;
    expect([...run([2, 3], grid, build).data]).toEqual(expected);
  });

  it("keeps large and hidden logits finite", () => {
    const p = run([1, 3], [1000, 999, -1e30], (x) => softmax(x));
    expect(p.data[0]).toBeCloseTo(1 / (1 + Math.exp(-1)), 12);
    expect(p.data[2]).toBe(0);
    expect(run([1, 2], [1000, 0], (x) => logSoftmax(x)).data[1]).toBeCloseTo(-1000, 9);
  });

  it("selects, and does not mix in what was not taken", () => {
    const y = run([2], [Number.NaN, 3], (x) => where(isNotANumber(x), 0, x));
    expect([...y.data]).toEqual([0, 3]);
  });
});

describe("feeds", () => {
  const graph = createGraph("fed");
  const a = graph.input("a", "float32", ["rows", 2]);
  const b = graph.input("b", "float32", ["rows", 2]);
  graph.output("y", add(a, b));
  const two = { shape: [2, 2], data: [1, 2, 3, 4] };

  it("are checked against the declared shapes, equal names against each other", () => {
    expect([...evaluate(graph, { a: two, b: two })["y"]!.data]).toEqual([2, 4, 6, 8]);
    expect(() => evaluate(graph, { a: two })).toThrow(/nothing is fed to b \[rows, 2\]/);
    expect(() => evaluate(graph, { a: two, b: { shape: [1, 2], data: [1, 2] } })).toThrow(
      /b \[rows, 2\] does not take \[1, 2\]/,
    );
    expect(() => evaluate(graph, { a: two, b: { shape: [2, 2], data: [1] } })).toThrow(
      /does not take 1 elements/,
    );
  });

  it("names the node that has no reference", () => {
    const decode = createGraph("decode");
    const cache = decode.input("cache", "float32", [1, 1, 4, 2]);
    const at = decode.input("at", "int64", [1]);
    decode.output("y", decode.one("TensorScatter", [cache, cache, at], { axis: 2, mode: "linear" }));
    const feeds = {
      cache: { shape: [1, 1, 4, 2], data: new Float64Array(8) },
      at: { shape: [1], data: [0] },
    };
    expect(() => evaluate(decode, feeds)).toThrow(/TensorScatter_\d+: TensorScatter has no reference kernel/);
  });
});

describe("inference and evaluation agree on shapes", () => {
  const size = fc.integer({ min: 1, max: 4 });
  it("for chains of movements and reductions of any size", () => {
    fc.assert(
      fc.property(size, size, size, fc.integer({ min: -3, max: 2 }), (a, b, c, axis) => {
        const graph = createGraph("chain");
        const x = graph.input("x", "float32", [a, b, c]);
        const values = [
          transpose(x, [2, 0, 1]),
          reshape(x, [0, -1]),
          unsqueeze(x, [axis]),
          reduceSum(x, { axes: [axis] }),
          reduceSum(x, { axes: [axis], keepdims: true }),
          matMul(x, transpose(x, [0, 2, 1])),
          softmax(x, axis),
          argMax(x, axis),
        ];
        values.forEach((value, i) => graph.output(`y${i}`, value));
        const results = evaluate(graph, {
          x: { shape: [a, b, c], data: new Float64Array(a * b * c).fill(1) },
        });
        values.forEach((value, i) => expect(results[`y${i}`]!.shape).toEqual(value.shape));
      }),
    );
  });
});
