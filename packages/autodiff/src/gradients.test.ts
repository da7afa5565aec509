/** The walk itself: what is visited, what is made, and what is refused. The rules have tests of their own. */
import {
  add,
  cast,
  concat,
  createGraph,
  evaluate,
  fusedMatMul,
  gather,
  matMul,
  mul,
  reduceMean,
  reduceSum,
  reshape,
  softmax,
} from "@oarlock/onnx";
import { describe, expect, it } from "vitest";
import { centralDifferences, defineGradient, gradients, relativeGap } from "./index.ts";

const numbers = (count: number, seed: number): Float64Array =>
  Float64Array.from({ length: count }, (_, i) => Math.sin(12.9898 * (i + 1) + 78.233 * seed));

describe("the walk", () => {
  it("gives zeros, in shape, where the loss does not depend on a value", () => {
    const graph = createGraph("independent");
    const [x, w] = [graph.input("x", "float32", [2]), graph.input("w", "float32", [3])];
    const [dw] = gradients(reduceSum(x), [w]);
    graph.output("dw", dw!);
    expect([
      ...evaluate(graph, { x: { shape: [2], data: [1, 2] }, w: { shape: [3], data: [1, 2, 3] } })["dw"]!.data,
    ]).toEqual([0, 0, 0]);
  });

  it("is of a value's own type: float64 all through", () => {
    const graph = createGraph("double");
    const [x, unused] = [graph.input("x", "float64", [3, 2]), graph.input("unused", "float64", [2])];
    const rows = gather(x, graph.input("at", "int64", [2]), 0);
    const found = gradients(reduceSum(mul(rows, rows)), [x, unused]);
    found.forEach((value, i) => graph.output(`d${i}`, value));
    expect(found.map(({ dtype }) => dtype)).toEqual(["float64", "float64"]);
    const feeds = {
      x: { shape: [3, 2], data: [1, 2, 3, 4, 5, 6] },
      unused: { shape: [2], data: [0, 0] },
      at: { shape: [2], data: [2, 2] },
    };
    const { d0, d1 } = evaluate(graph, feeds, ["d0", "d1"]);
    expect([d0, d1].map((of) => [...of!.data])).toEqual([
      [0, 0, 0, 0, 20, 24],
      [0, 0],
    ]);
  });

  it("works with named sizes", () => {
    const graph = createGraph("named");
    const x = graph.input("x", "float32", ["rows", "tokens", 6]);
    const z = graph.input("z", "float32", ["more", 6]);
    const w = graph.input("w", "float32", [6, 4]);
    const joined = concat([z, reshape(x, [-1, 6])], 0);
    const y = reshape(matMul(joined, w), [-1, 2, 2]);
    const loss = graph.output("loss", reduceMean(mul(softmax(y), y)));
    gradients(loss, [x, w]).forEach((gradient, i) => graph.output(`d${i}`, gradient));
    const feeds = {
      x: { shape: [1, 2, 6], data: numbers(12, 1) },
      z: { shape: [1, 6], data: numbers(6, 3) },
      w: { shape: [6, 4], data: numbers(24, 2) },
    };
    const results = evaluate(graph, feeds);
    ["x", "w"].forEach((input, i) => {
      expect(
        relativeGap(results[`d${i}`]!.data, centralDifferences(graph, { loss: "loss", input, feeds })),
      ).toBeLessThan(1e-7);
    });
  });

  it("makes no gradient that nobody asked for", () => {
    const graph = createGraph("lean");
    const [x, w] = [graph.input("x", "float32", [2, 3]), graph.input("w", "float32", [3, 2])];
    const loss = reduceSum(matMul(x, w));
    const before = graph.nodes.length;
    gradients(loss, [w]);
    const products = graph.nodes
      .slice(before)
      .filter((node) => node.op === "MatMul" || node.op === "FusedMatMul");
    expect(products).toHaveLength(1);
  });

  it("adds to what it is given: products and scatters start from it", () => {
    const build = (accumulate: boolean) => {
      const graph = createGraph("onto");
      const w = graph.input("w", "float32", [5, 4]);
      const b = graph.input("b", "float32", [4]);
      const unused = graph.input("unused", "float32", [2]);
      const ids = graph.input("ids", "int64", ["rows", 3]);
      const rows = add(gather(w, ids, 0), b); // [rows, 3, 4]
      const y = fusedMatMul(matMul(rows, fusedMatMul(w, w, { transA: 1, alpha: 0.5 })), w, { transB: 1 });
      const onto = accumulate
        ? [w, b, unused].map(({ name, shape }) => graph.input(`known.${name}`, "float32", shape))
        : [];
      const loss = reduceMean(mul(softmax(y), y));
      gradients(loss, [w, b, unused], onto).forEach((gradient, i) => graph.output(`d${i}`, gradient));
      return graph;
    };
    const feeds = {
      w: { shape: [5, 4], data: numbers(20, 1) },
      b: { shape: [4], data: numbers(4, 2) },
      unused: { shape: [2], data: numbers(2, 3) },
      ids: { shape: [2, 3], data: [0, 4, 1, 1, 2, 0] },
    };
    const known = [numbers(20, 5), numbers(4, 6), numbers(2, 7)];
    const fed = Object.fromEntries(
      ["w", "b", "unused"].map((name, i) => [
        `known.${name}`,
        { shape: feeds[name as "w"].shape, data: known[i]! },
      ]),
    );
    const [alone, added] = [evaluate(build(false), feeds), evaluate(build(true), { ...feeds, ...fed })];
    known.forEach((start, i) => {
      const expected = Float64Array.from(start, (value, at) => value + Number(alone[`d${i}`]!.data[at]));
      expect(relativeGap(added[`d${i}`]!.data, expected)).toBeLessThan(1e-12);
    });
    expect(build(true).nodes.map(({ op }) => op)).toContain("Gemm");
  });

  it("starts from something only for inputs, and only in their shape", () => {
    const graph = createGraph("misplaced");
    const [x, known] = [graph.input("x", "float32", [3]), graph.input("known", "float32", [3])];
    const y = mul(x, x);
    expect(() => gradients(reduceSum(y), [y], [known])).toThrow(/AUTODIFF_ONTO.*known\[3\].*for an input/);
    expect(() => gradients(reduceSum(y), [x], [reduceSum(known)])).toThrow(/not for x\[3\]/);
  });

  it("passes a group by its own formula, and only there", () => {
    const graph = createGraph("custom");
    const x = graph.input("x", "float32", [3]);
    const y = mul(mul(x, x), x);
    defineGradient(graph, { outputs: [y], inputs: [x], derive: ([dy]) => [() => mul(dy!, 100)] });
    const [dx] = gradients(reduceSum(add(y, x)), [x]);
    graph.output("dx", dx!);
    expect([...evaluate(graph, { x: { shape: [3], data: [1, 2, 3] } })["dx"]!.data]).toEqual([101, 101, 101]);
  });

  it("refuses decoding operators and losses that are no scalar, by name", () => {
    const graph = createGraph("refused");
    const cache = graph.input("cache", "float32", [1, 1, 4, 2]);
    const at = graph.input("at", "int64", [1]);
    const written = graph.one("TensorScatter", [cache, cache, at], { axis: 2, mode: "linear" });
    expect(() => gradients(reduceSum(written), [cache])).toThrow(
      /TensorScatter_\d+: a key-value cache is for decoding/,
    );
    expect(() => gradients(cache, [cache])).toThrow(/not a floating scalar/);
  });

  it("refuses half precision on the way, by name, and passes it by elsewhere", () => {
    const graph = createGraph("half");
    const [x, h] = [graph.input("x", "float32", [3]), graph.input("h", "bfloat16", [3])];
    const rounded = cast(cast(x, "bfloat16"), "float32");
    expect(() => gradients(reduceSum(rounded), [x])).toThrow(
      /AUTODIFF_RULE.*Cast_\d+: input 0 \(Cast_\d+\) is bfloat16/,
    );
    const [dx] = gradients(reduceSum(mul(x, cast(h, "float32"))), [x]);
    graph.output("dx", dx!);
    const feeds = { x: { shape: [3], data: [1, 2, 3] }, h: { shape: [3], data: [4, 5, 6] } };
    expect([...evaluate(graph, feeds, ["dx"])["dx"]!.data]).toEqual([4, 5, 6]);
  });
});
