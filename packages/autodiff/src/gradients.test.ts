/** The walk itself: what is visited, what is made, and what is refused. The rules have tests of their own. */
import {
  add,
  createGraph,
  evaluate,
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

  it("works with named sizes", () => {
    const graph = createGraph("named");
    const x = graph.input("x", "float32", ["rows", 6]);
    const w = graph.input("w", "float32", [6, 4]);
    const y = reshape(matMul(x, w), [-1, 2, 2]);
    const loss = graph.output("loss", reduceMean(mul(softmax(y), y)));
    gradients(loss, [x, w]).forEach((gradient, i) => graph.output(`d${i}`, gradient));
    const feeds = { x: { shape: [3, 6], data: numbers(18, 1) }, w: { shape: [6, 4], data: numbers(24, 2) } };
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
});
