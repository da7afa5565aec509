/**
 * The graph as data: values with an element type and a shape, and the nodes that make them. Every node is checked and
 * its results are inferred when it is added, so a graph that was built is a graph that fits together.
 *
 * A graph knows nothing of how it is run, differentiated, or written to a file.
 */
import { OarlockError } from "@oarlock/errors";
import { type DType, type Tensor, tensor } from "@oarlock/tensor";
import { type OpAttributes, type OpName, operators } from "./ops/index.ts";
import { type Shape, showShape } from "./shape.ts";

/** The type of a value: what is known of it before any run. */
export interface ValueType {
  readonly dtype: DType;
  readonly shape: Shape;
}

/** One tensor of the graph: an input, a constant, or a result of a node. */
export interface Value extends ValueType {
  readonly name: string;
  readonly graph: Graph;
  /** The node that makes it; absent for inputs and constants. */
  readonly producer?: GraphNode;
  /** Its value, where it is a constant. */
  readonly constant?: Tensor;
  /** The dimensions whose sizes it holds, where it is one of the graph's inputs for them. */
  readonly sizes?: Shape;
}

/** One operation of the graph. */
export interface GraphNode<Op extends OpName = OpName> {
  readonly op: Op;
  readonly name: string;
  /** In the operator's order; an optional input left out is undefined. */
  readonly inputs: readonly (Value | undefined)[];
  readonly attributes: OpAttributes[Op];
  readonly outputs: readonly Value[];
}

/** What the graph hands out under a name of its own. */
export interface GraphOutput {
  readonly name: string;
  readonly value: Value;
}

/** An input whose tensor the runtime attaches when the session is made (weights; never inside the model file). */
export interface GraphInput {
  readonly value: Value;
  /** True: an initializer fed at session creation, false: fed at every run. */
  readonly external: boolean;
}

/** Constants up to this size are compared by content; larger ones (tables) are not asked for twice. */
const COMPARED_ELEMENTS = 64;

const contentKey = ({ dtype, shape, data }: Tensor): string =>
  `${dtype}|${shape.join(",")}|${data.join(",")}`;

/** A graph under construction: nodes in an order in which they can run, names given once. Shapes are checked as nodes are added. */
export class Graph {
  readonly name: string;
  /** Operators that where it will run are absent or wrong: builders compose them of others. */
  readonly without: ReadonlySet<OpName>;
  readonly inputs: GraphInput[] = [];
  readonly outputs: GraphOutput[] = [];
  readonly nodes: GraphNode[] = [];
  readonly constants: Value[] = [];
  readonly #names = new Set<string>();
  readonly #constantsByContent = new Map<string, Value>();

  constructor(name: string, without: Iterable<OpName> = []) {
    this.name = name;
    this.without = new Set(without);
  }

  /** A tensor that every run is given. Throws `ONNX_NAME` where the name is taken. */
  input(name: string, dtype: DType, shape: Shape): Value {
    const value: Value = { name: this.#claim(name), graph: this, dtype, shape };
    this.inputs.push({ value, external: false });
    return value;
  }

  /** A tensor of fixed shape that the runtime attaches once per session: a weight that may be prepacked. */
  initializer(name: string, dtype: DType, shape: readonly number[]): Value {
    const value: Value = { name: this.#claim(name), graph: this, dtype, shape };
    this.inputs.push({ value, external: true });
    return value;
  }

  /** A tensor that lies inside the model. Equal small ones become one. */
  constant(content: Tensor): Value {
    const key = content.data.length <= COMPARED_ELEMENTS ? contentKey(content) : undefined;
    const known = key === undefined ? undefined : this.#constantsByContent.get(key);
    if (known) return known;
    const { dtype, shape } = content;
    const value: Value = { name: this.#fresh("constant"), graph: this, dtype, shape, constant: content };
    if (key !== undefined) this.#constantsByContent.set(key, value);
    this.constants.push(value);
    return value;
  }

  /** A one-dimensional int64 constant: axes, target shapes, split sizes. */
  integers(values: readonly number[]): Value {
    return this.constant(tensor("int64", [values.length], BigInt64Array.from(values, BigInt)));
  }

  /**
   * These dimensions as an int64 vector: a target shape, the sizes of a split. A constant where all are fixed; else an input, one for
   * equal dimensions, that every run is given (`sizeInputs`, `sizesOf`).
   */
  sizes(dims: Shape): Value {
    const fixed = dims.filter((dim) => typeof dim === "number");
    if (fixed.length === dims.length) return this.integers(fixed);
    const name = `sizes${showShape(dims)}`;
    const known = this.inputs.find(({ value }) => value.sizes && value.name === name);
    if (known) return known.value;
    const value: Value = {
      name: this.#claim(name),
      graph: this,
      dtype: "int64",
      shape: [dims.length],
      sizes: dims,
    };
    this.inputs.push({ value, external: false });
    return value;
  }

  /** Names `value` as a result of the graph. */
  output(name: string, value: Value): Value {
    if (value.graph !== this)
      throw new OarlockError("ONNX_FOREIGN_VALUE", `${name}: ${value.name} is of another graph`);
    if (this.outputs.some((output) => output.name === name)) {
      throw new OarlockError("ONNX_NAME", `graph ${this.name} has an output ${name} already`);
    }
    this.outputs.push({ name, value });
    return value;
  }

  /**
   * Adds a node; its results are inferred from its inputs. Throws `ONNX_NODE`, naming the node and what it was given,
   * where they do not fit.
   */
  add<Op extends OpName>(
    op: Op,
    inputs: readonly (Value | undefined)[],
    attributes: OpAttributes[Op],
  ): readonly Value[] {
    const name = this.#fresh(op);
    for (const value of inputs) {
      if (value && value.graph !== this)
        throw new OarlockError("ONNX_FOREIGN_VALUE", `${name}: ${value.name} is of another graph`);
    }
    const types = this.#infer(op, name, inputs, attributes);
    const outputs: Value[] = [];
    const node: GraphNode<Op> = { op, name, inputs, attributes, outputs };
    const producer: GraphNode = node;
    types.forEach((type, i) => {
      outputs.push({ ...type, name: types.length === 1 ? name : `${name}.${i}`, graph: this, producer });
    });
    this.nodes.push(node);
    return outputs;
  }

  /** As `add`, for an operation with one result. */
  one<Op extends OpName>(
    op: Op,
    inputs: readonly (Value | undefined)[],
    attributes: OpAttributes[Op],
  ): Value {
    const [first] = this.add(op, inputs, attributes);
    if (!first) throw new OarlockError("ONNX_NODE", `${op} has no result`);
    return first;
  }

  #infer<Op extends OpName>(
    op: Op,
    name: string,
    inputs: readonly (Value | undefined)[],
    attributes: OpAttributes[Op],
  ): readonly ValueType[] {
    const fail = (message: string): never => {
      const given = inputs.map((value) =>
        value ? `${value.dtype}${showShape(value.shape)} ${value.name}` : "none",
      );
      throw new OarlockError(
        "ONNX_NODE",
        `${name}: ${message} (inputs: ${given.join("; ") || "none"}) in graph ${this.name}`,
      );
    };
    return operators[op].infer({ inputs, attributes, fail });
  }

  #fresh(stem: string): string {
    let count = this.#names.size;
    let name = `${stem}_${count}`;
    while (this.#names.has(name)) name = `${stem}_${++count}`;
    this.#names.add(name);
    return name;
  }

  #claim(name: string): string {
    if (name === "" || this.#names.has(name))
      throw new OarlockError("ONNX_NAME", `graph ${this.name}: the name "${name}" is taken or empty`);
    this.#names.add(name);
    return name;
  }
}

/** An input that holds sizes of named dimensions, and which. */
export interface SizeInput {
  readonly name: string;
  readonly dims: Shape;
}

/** What a run has to be told of the sizes of named dimensions, for the nodes that cut or reshape by them. */
export function sizeInputs({ inputs }: Graph): SizeInput[] {
  return inputs.flatMap(({ value: { name, sizes: dims } }) => (dims ? [{ name, dims }] : []));
}

/** An empty graph of this name, for engines that have every operator but those. */
export function createGraph(name: string, without: Iterable<OpName> = []): Graph {
  return new Graph(name, without);
}
