/** The model as bytes, read back with the official schema. */
import { fromBinary } from "@bufbuild/protobuf";
import { tensor } from "@oarlock/tensor";
import { describe, expect, it } from "vitest";
import { ModelProtoSchema, TensorProto_DataLocation, TensorProto_DataType } from "./gen/onnx_pb.ts";
import { add, cast, createGraph, fusedMatMul, type Graph, mul, serializeModel, transpose } from "./index.ts";

function read(graph: Graph) {
  const model = fromBinary(ModelProtoSchema, serializeModel(graph));
  return { model, body: model.graph! };
}

function sample(): Graph {
  const graph = createGraph("sample");
  const x = graph.input("x", "float32", ["rows", 4]);
  const w = graph.initializer("w", "float32", [3, 4]);
  const y = fusedMatMul(x, w, { transB: 1, alpha: 0.5 });
  transpose(y, [1, 0]); // nobody asks for this one
  graph.output("y", cast(mul(y, 2), "float64"));
  return graph;
}

describe("a serialised model", () => {
  it("declares its operator sets, inputs and outputs", () => {
    const { model, body } = read(sample());
    expect(model.opsetImport.map(({ domain, version }) => [domain, version])).toEqual([
      ["", 24n],
      ["com.microsoft", 1n],
    ]);
    expect(body.input.map(({ name }) => name)).toEqual(["x"]);
    const { value } = body.input[0]!.type!;
    expect(value.case === "tensorType" && value.value.shape!.dim.map((dim) => dim.value.value)).toEqual([
      "rows",
      4n,
    ]);
    expect(body.output.map(({ name }) => name)).toEqual(["y"]);
  });

  it("writes attributes in their own kinds: whole numbers, real numbers, element types", () => {
    const { body } = read(sample());
    const product = body.node.find(({ opType }) => opType === "FusedMatMul")!;
    expect(product.domain).toBe("com.microsoft");
    expect(product.attribute.map(({ name, i, f }) => [name, name === "alpha" ? f : i])).toEqual([
      ["transB", 1n],
      ["alpha", 0.5],
    ]);
    expect(body.node.find(({ opType }) => opType === "Cast")!.attribute[0]!.i).toBe(
      BigInt(TensorProto_DataType.DOUBLE),
    );
  });

  it("leaves out what no output needs", () => {
    expect(read(sample()).body.node.map(({ opType }) => opType)).not.toContain("Transpose");
  });

  it("writes the nodes that nothing reads at the end, the last of them first", () => {
    const graph = createGraph("ends");
    const y = add(graph.input("x", "float32", [2]), 1);
    const first = graph.output("first", mul(y, 2));
    const z = add(y, 3);
    const second = graph.output("second", mul(z, 4));
    const third = graph.output("third", add(z, 5));
    const nodes = read(graph).body.node.map(({ name }) => name);
    expect(nodes.slice(0, 5)).toEqual([y, z, third, second, first].map(({ producer }) => producer?.name));
    expect(nodes.slice(5)).toEqual(["output:first", "output:second", "output:third"]);
  });

  it("holds constants, and of weights only name, shape and size", () => {
    const { body } = read(sample());
    const constant = body.initializer.find(({ rawData }) => rawData.length > 0)!;
    expect(new Float32Array(constant.rawData.slice().buffer)).toEqual(Float32Array.of(2));
    const weight = body.initializer.find(({ name }) => name === "w")!;
    expect(weight.dataLocation).toBe(TensorProto_DataLocation.EXTERNAL);
    expect(Object.fromEntries(weight.externalData.map(({ key, value }) => [key, value]))).toEqual({
      location: "w",
      offset: "0",
      length: "48",
    });
  });

  it("refuses a constant that belongs outside", () => {
    const graph = createGraph("large");
    const x = graph.input("x", "float32", []);
    graph.output("y", add(x, 1));
    graph.constant(tensor("uint8", [65 * 1024 * 1024]));
    expect(() => serializeModel(graph)).toThrow(/ONNX_CONSTANT_TOO_LARGE.*constant_\d+ has 68157440 bytes/);
  });
});
