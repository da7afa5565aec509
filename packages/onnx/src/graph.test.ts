/** Building: what is inferred, and how a node that does not fit is refused. */
import { tensor } from "@oarlock/tensor";
import { describe, expect, it } from "vitest";
import {
  add,
  concat,
  createGraph,
  evaluate,
  fusedMatMul,
  gather,
  type Graph,
  matMul,
  mul,
  product,
  reduceMean,
  reshape,
  sizeInputs,
  sizesOf,
  slice,
  split,
  sum,
  transpose,
  type Value,
} from "./index.ts";

const named = (graph: Graph, shape: readonly (number | string)[]): Value =>
  graph.input("x", "float32", shape);

describe("inference", () => {
  it("carries named sizes through products, reshapes and reductions", () => {
    const graph = createGraph("g");
    const x = named(graph, ["rows", "tokens", 6]);
    expect(reshape(x, [-1, 6]).shape).toEqual(["rows*tokens", 6]);
    expect(reshape(x, [0, 0, 2, 3]).shape).toEqual(["rows", "tokens", 2, 3]);
    expect(reshape(x, [-1, 3]).shape).toEqual(["2*rows*tokens", 3]);
    expect(transpose(x, [1, 0, 2]).shape).toEqual(["tokens", "rows", 6]);
    expect(reduceMean(x, { axes: [-1], keepdims: true }).shape).toEqual(["rows", "tokens", 1]);
    expect(matMul(x, graph.input("w", "float32", [6, 4])).shape).toEqual(["rows", "tokens", 4]);
    expect(split(x, [2, 4], -1).map((part) => part.shape)).toEqual([
      ["rows", "tokens", 2],
      ["rows", "tokens", 4],
    ]);
  });

  it("goes back from a product of named sizes to its factors", () => {
    const graph = createGraph("g");
    const flat = reshape(named(graph, ["rows", 5, 6]), [-1, 6]);
    expect(reshape(flat, [-1, 5, 6]).shape).toEqual(["rows", 5, 6]);
  });

  it("cuts and joins by sizes with names, which are inputs: one for equal dimensions", () => {
    const graph = createGraph("g");
    const [a, b] = [
      graph.input("a", "float32", ["p", 2]),
      graph.input("b", "float32", ["rows", "tokens", 2]),
    ];
    const joined = concat([a, reshape(b, [-1, 2])], 0);
    expect(joined.shape).toEqual(["(p+rows*tokens)", 2]);
    for (let twice = 0; twice < 2; twice++) {
      const [, tail = joined] = split(joined, ["p", "rows*tokens"], 0);
      graph.output(`b${twice}`, reshape(tail, ["rows", "tokens", 2]));
    }
    expect(reshape(joined, [-1, 1]).shape).toEqual(["2*(p+rows*tokens)", 1]);
    expect(sizeInputs(graph)).toEqual([
      { name: "sizes[p, rows*tokens]", dims: ["p", "rows*tokens"] },
      { name: "sizes[rows, tokens, 2]", dims: ["rows", "tokens", 2] },
    ]);
    expect(sizesOf(["p", "2*(p+3*rows*tokens+1)", 7], { p: 4, rows: 2, tokens: 5 })).toEqual([4, 70, 7]);
    expect(sum(["c", sum(["a", 1]), sum(["b*c", 1])])).toBe("(c+a+b*c+2)");
    expect([sum([2, 3]), sum(["a", 0]), product([2, sum(["a", "b"]), 3])]).toEqual([5, "a", "6*(a+b)"]);
    const nested = sum(["a", product([2, "b", sum(["c", product([3, sum(["d", 1])])])])]);
    expect(nested).toBe("(a+2*b*(c+3*(d+1)))");
    expect(sizesOf([nested, product([nested, nested])], { a: 1, b: 2, c: 3, d: 4 })).toEqual([73, 73 * 73]);
    expect(() => sizesOf(["p", "rows"], { p: 4 })).toThrow(/rows of \[p, rows\] has no size/);
    const feeds = {
      a: { shape: [1, 2], data: [1, 2] },
      b: { shape: [1, 2, 2], data: [3, 4, 5, 6] },
    };
    const [first, second] = [graph, graph].map((one) => evaluate(one, feeds));
    expect(first).toEqual(second);
    expect(first?.["b1"]).toEqual({ shape: [1, 2, 2], data: Float64Array.of(3, 4, 5, 6) });
  });

  it("makes equal constants one", () => {
    const graph = createGraph("g");
    const x = named(graph, [2]);
    mul(add(x, 2), 2);
    expect(graph.constants).toHaveLength(1);
  });
});

describe("a node that does not fit is refused, by name, with what it was given", () => {
  const graph = createGraph("model");
  const x = graph.input("x", "float32", ["rows", 6]);
  const w = graph.input("w", "float32", [4, 5]);
  const ids = graph.input("ids", "int64", [3]);
  const wrong: Record<string, [() => unknown, RegExp]> = {
    "inner sizes": [
      () => matMul(x, w),
      /MatMul_\d+: inner dimensions 6 and 4 differ \(inputs: float32\[rows, 6\] x; float32\[4, 5\] w\) in graph model/,
    ],
    "transposed inner sizes": [
      () => fusedMatMul(x, w, { transB: 1 }),
      /FusedMatMul_\d+: inner dimensions 6 and 5 differ/,
    ],
    broadcasting: [() => add(x, w), /Add_\d+: .*\[4, 5\] does not broadcast with \[rows, 6\]/],
    "element types": [() => add(x, ids), /Add_\d+: float32 and int64 do not mix/],
    "indices that are no integers": [
      () => gather(w, x, 0),
      /Gather_\d+: x is float32; accepted: int64, int32/,
    ],
    "a reshape that does not divide": [
      () => reshape(x, [-1, 4]),
      /Reshape_\d+: \[rows, 6\] does not divide into \[-1, 4\]/,
    ],
    "two open sizes": [() => reshape(x, [-1, -1]), /only one dimension may be −1/],
    "sizes that do not add up": [() => split(w, [2, 2], 1), /Split_\d+: sizes \[2, 2\] do not add up/],
    "another name": [() => reshape(x, ["tokens", 6]), /\[rows, 6\] becomes \[rows, 6\], not \[tokens, 6\]/],
    "names that do not add up": [
      () => split(x, ["rows", 1], 0),
      /Split_\d+: sizes \[rows, 1\] do not add up/,
    ],
    "an axis outside": [() => concat([w, w], 2), /Concat_\d+: axis 2 lies outside of \[4, 5\]/],
    "a slice of a named size": [() => slice(x, 0, 0, 1), /Slice_\d+: axis 0 has the named size rows/],
    "no permutation": [() => transpose(w, [0, 0]), /Transpose_\d+: \[0, 0\] is no permutation of 2 axes/],
  };
  it.each(Object.keys(wrong))("%s", (what) => {
    const [build, message] = wrong[what]!;
    expect(build).toThrow(message);
  });

  it("names and graphs", () => {
    expect(() => graph.input("x", "float32", [1])).toThrow(/the name "x" is taken/);
    graph.output("y", x);
    expect(() => graph.output("y", w)).toThrow(/has an output y already/);
    expect(() => add(createGraph("other").input("z", "float32", [6]), x)).toThrow(/of another graph/);
  });

  it("a constant whose elements do not fill its shape", () => {
    expect(() => graph.constant(tensor("float32", [3], Float32Array.of(1, 2)))).toThrow(
      /needs 3 elements, got 2/,
    );
  });
});
