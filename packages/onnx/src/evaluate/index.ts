/**
 * Runs a graph in float64 with plain loops: slow, obvious, and the yardstick for gradients and for ONNX Runtime.
 *
 * Casts to float32 keep all digits here, so results are those of exact arithmetic to about 1e-15.
 */
import { causeChain, isOarlockError, OarlockError } from "@oarlock/errors";
import { elementCount } from "@oarlock/tensor";
import type { Graph, GraphNode, Value } from "../graph.ts";
import { neededNodes } from "../needed.ts";
import type { OpAttributes, OpName } from "../ops/index.ts";
import { type Shape, showShape, sizesOf } from "../shape.ts";
import type { Dense } from "./dense.ts";
import { elementwise } from "./elementwise.ts";
import type { Kernel } from "./kernel.ts";
import { linalg } from "./linalg.ts";
import { movement } from "./movement.ts";
import { reduction } from "./reduction.ts";
import { transformer } from "./transformer.ts";

const kernels: { readonly [Op in OpName]: Kernel<OpAttributes[Op]> } = {
  ...elementwise,
  ...linalg,
  ...movement,
  ...reduction,
  ...transformer,
};

/** A tensor to feed; integers and truth values may come as any array of numbers or bigints. */
export interface EvaluateFeed {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number> | ArrayLike<bigint>;
}

/**
 * The outputs of `graph`, by name, as float64 (integers and truth values too). `feeds` holds every input and every
 * external initializer by name; sizes of named dimensions follow from the other inputs. Throws `ONNX_EVALUATE`, naming the
 * input or node, where something is missing or does not fit. `only` names the outputs that are wanted; default all.
 */
export function evaluate(
  graph: Graph,
  feeds: Readonly<Record<string, EvaluateFeed>>,
  only?: readonly string[],
): Record<string, Dense> {
  const outputs = graph.outputs.filter(({ name }) => only?.includes(name) ?? true);
  const known = new Map<Value, Dense>();
  const sizes = new Map<string, number>();
  const inputs = graph.inputs.map(({ value }) => value);
  for (const value of inputs) if (!value.sizes) known.set(value, fed(value, feeds[value.name], sizes));
  for (const value of inputs) if (value.sizes) known.set(value, sizesFed(value.sizes, sizes));
  for (const value of graph.constants) known.set(value, constantOf(value));
  for (const node of neededNodes(
    graph,
    outputs.map(({ value }) => value),
  ))
    run(node, known);
  return Object.fromEntries(
    outputs.map(({ name, value }) => {
      const result = known.get(value);
      if (!result) throw new OarlockError("ONNX_EVALUATE", `output ${name}: nothing makes ${value.name}`);
      return [name, result];
    }),
  );
}

function run(node: GraphNode, known: Map<Value, Dense>): void {
  const inputs = node.inputs.map((value) => value && known.get(value));
  const kernel: Kernel<never> = kernels[node.op];
  let results: readonly Dense[];
  try {
    // The table pairs each kernel with its operator's attributes; the pairing is lost on a node of unknown operator.
    results = kernel(inputs, node.attributes as never);
  } catch (cause) {
    const reason = isOarlockError(cause) ? cause.rawMessage : causeChain(cause).join(": ");
    throw new OarlockError("ONNX_EVALUATE", `${node.name}: ${reason}`, { cause });
  }
  node.outputs.forEach((value, i) => {
    const result = results[i];
    if (result) known.set(value, result);
  });
}

/** Checks a fed tensor against the declared type; named sizes must agree with each other. */
function fed(value: Value, given: EvaluateFeed | undefined, sizes: Map<string, number>): Dense {
  const declared = `${value.name} ${showShape(value.shape)}`;
  if (!given) throw new OarlockError("ONNX_EVALUATE", `nothing is fed to ${declared}`);
  const fits =
    given.shape.length === value.shape.length &&
    value.shape.every((dim, i) => {
      const size = given.shape[i] ?? -1;
      if (typeof dim === "number") return dim === size;
      if (!sizes.has(dim)) sizes.set(dim, size);
      return sizes.get(dim) === size;
    });
  if (!fits) throw new OarlockError("ONNX_EVALUATE", `${declared} does not take ${showShape(given.shape)}`);
  return toDense(given);
}

/** Sizes of named dimensions, as the tensors that were fed have them. */
function sizesFed(dims: Shape, sizes: ReadonlyMap<string, number>): Dense {
  return { shape: [dims.length], data: Float64Array.from(sizesOf(dims, Object.fromEntries(sizes))) };
}

function constantOf({ name, dtype, constant }: Value): Dense {
  // Half precisions are bit patterns here, not numbers.
  if (!constant || dtype === "float16" || dtype === "bfloat16") {
    throw new OarlockError("ONNX_EVALUATE", `${name}: constants of ${dtype} have no reference form`);
  }
  return toDense(constant);
}

function toDense({ shape, data }: EvaluateFeed): Dense {
  const numbers = Float64Array.from({ length: data.length }, (_, i) => Number(data[i]));
  if (numbers.length !== elementCount(shape)) {
    throw new OarlockError("ONNX_EVALUATE", `${showShape(shape)} does not take ${numbers.length} elements`);
  }
  return { shape, data: numbers };
}
