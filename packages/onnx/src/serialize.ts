/**
 * A graph as the bytes of an ONNX model, through the official schema. Weights are inputs or external initializers, so
 * the message stays small whatever the model's size.
 */
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { OarlockError } from "@oarlock/errors";
import { bytesPerElement, type DType, elementCount, type Tensor } from "@oarlock/tensor";
import {
  type AttributeProto,
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  ModelProtoSchema,
  type NodeProtoSchema,
  TensorProto_DataLocation,
  TensorProto_DataType,
  type TensorProtoSchema,
  type ValueInfoProtoSchema,
} from "./gen/onnx_pb.ts";
import type { Graph, GraphNode, Value } from "./graph.ts";
import { neededNodes } from "./needed.ts";
import { operators } from "./ops/index.ts";

/** ai.onnx 24: TensorScatter, Attention with a count of valid keys. */
const OPSET = 24n;
/** The file format that belongs to opset 24. */
const IR_VERSION = 11n;
/** Constants above this size belong in inputs or external initializers. */
const MAX_CONSTANT_BYTES = 64 * 1024 * 1024;

const dataTypes: { readonly [D in DType]: TensorProto_DataType } = {
  float32: TensorProto_DataType.FLOAT,
  float64: TensorProto_DataType.DOUBLE,
  float16: TensorProto_DataType.FLOAT16,
  bfloat16: TensorProto_DataType.BFLOAT16,
  int64: TensorProto_DataType.INT64,
  int32: TensorProto_DataType.INT32,
  int8: TensorProto_DataType.INT8,
  uint8: TensorProto_DataType.UINT8,
  bool: TensorProto_DataType.BOOL,
};

/** The bytes of `graph` as an ONNX model. Throws `ONNX_CONSTANT_TOO_LARGE` for a constant above 64 MiB. */
export function serializeModel(graph: Graph): Uint8Array {
  const fed = graph.inputs.filter((input) => !input.external);
  const attached = graph.inputs.filter((input) => input.external);
  const model = create(ModelProtoSchema, {
    irVersion: IR_VERSION,
    producerName: "oarlock",
    opsetImport: [
      { domain: "", version: OPSET },
      { domain: "com.microsoft", version: 1n },
    ],
    graph: {
      name: graph.name,
      node: [
        ...inRunOrder(neededNodes(graph)).map(nodeProto),
        ...graph.outputs.map(({ name, value }) => passOn(value, name)),
      ],
      initializer: [
        ...graph.constants.map((value) => constantProto(value)),
        ...attached.map(({ value }) => externalProto(value)),
      ],
      input: fed.map(({ value }) => valueInfo(value, value.name)),
      output: graph.outputs.map(({ name, value }) => valueInfo(value, name)),
    },
  });
  return toBinary(ModelProtoSchema, model);
}

/**
 * ONNX Runtime starts from the nodes that nothing reads, the last one first, and runs before each what it still needs. Written in
 * their order, all gradients of weights would thus come at the end, when what they are made from has left the caches and
 * could not be freed meanwhile. So those nodes are written last to first.
 */
function inRunOrder(nodes: readonly GraphNode[]): GraphNode[] {
  const read = new Set(nodes.flatMap(({ inputs }) => inputs));
  const isEnd = ({ outputs }: GraphNode): boolean => !outputs.some((value) => read.has(value));
  return [...nodes.filter((node) => !isEnd(node)), ...nodes.filter(isEnd).toReversed()];
}

/** An output is a value under another name. ONNX Runtime removes the node where it can write the value in place. */
function passOn(value: Value, name: string): MessageInitShape<typeof NodeProtoSchema> {
  return { opType: "Identity", name: `output:${name}`, input: [value.name], output: [name] };
}

function nodeProto(node: GraphNode): MessageInitShape<typeof NodeProtoSchema> {
  const inputs = node.inputs.map((value) => value?.name ?? "");
  while (inputs.at(-1) === "") inputs.pop();
  return {
    opType: node.op,
    domain: operators[node.op].domain,
    name: node.name,
    input: inputs,
    output: node.outputs.map((value) => value.name),
    attribute: Object.entries(node.attributes).map(([name, value]) => attributeProto(node, name, value)),
  };
}

/** Attributes whose numbers are real numbers; all other numbers are integers. */
const realAttributes = new Set(["alpha", "beta", "epsilon", "scale"]);

function attributeProto(node: GraphNode, name: string, value: unknown): AttributeProto {
  if (name === "to") {
    const i = BigInt(dataTypes[value as DType]); // only Cast has "to", and its type is DType
    return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.INT, i });
  }
  if (typeof value === "string") {
    return create(AttributeProtoSchema, {
      name,
      type: AttributeProto_AttributeType.STRING,
      s: new TextEncoder().encode(value),
    });
  }
  if (Array.isArray(value)) {
    return create(AttributeProtoSchema, {
      name,
      type: AttributeProto_AttributeType.INTS,
      ints: value.map(BigInt),
    });
  }
  if (typeof value !== "number")
    throw new OarlockError("ONNX_NODE", `${node.name}: attribute ${name} has no ONNX form`);
  if (realAttributes.has(name))
    return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.FLOAT, f: value });
  return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.INT, i: BigInt(value) });
}

function constantProto(value: Value): MessageInitShape<typeof TensorProtoSchema> {
  const content: Tensor | undefined = value.constant;
  if (!content) throw new OarlockError("ONNX_NODE", `${value.name} is no constant`);
  const { data } = content;
  if (data.byteLength > MAX_CONSTANT_BYTES) {
    throw new OarlockError(
      "ONNX_CONSTANT_TOO_LARGE",
      `${value.name} has ${data.byteLength} bytes; make it an input`,
    );
  }
  return {
    name: value.name,
    dataType: dataTypes[content.dtype],
    dims: content.shape.map(BigInt),
    rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice(),
  };
}

/**
 * A placeholder that the runtime replaces by a tensor in memory when the session is made. The C API attaches by the
 * name, onnxruntime-node by the location.
 */
function externalProto(value: Value): MessageInitShape<typeof TensorProtoSchema> {
  const bytes = elementCount(value.shape.map(Number)) * bytesPerElement(value.dtype);
  return {
    name: value.name,
    dataType: dataTypes[value.dtype],
    dims: value.shape.map(BigInt),
    dataLocation: TensorProto_DataLocation.EXTERNAL,
    externalData: [
      { key: "location", value: value.name },
      { key: "offset", value: "0" },
      { key: "length", value: String(bytes) },
    ],
  };
}

function valueInfo(value: Value, name: string): MessageInitShape<typeof ValueInfoProtoSchema> {
  const dim = value.shape.map((size) => {
    if (typeof size === "number") return { value: { case: "dimValue" as const, value: BigInt(size) } };
    return { value: { case: "dimParam" as const, value: size } };
  });
  return {
    name,
    type: { value: { case: "tensorType", value: { elemType: dataTypes[value.dtype], shape: { dim } } } },
  };
}
