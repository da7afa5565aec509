/** What an operator of the table says of itself: its domain and how its results follow from its inputs. */
import type { DType } from "@oarlock/tensor";
import type { Value, ValueType } from "../graph.ts";
import { broadcast, type Dim, frontAxis, type Shape, showShape } from "../shape.ts";

/** The inputs and attributes of a node that is being added. */
export interface Inference<Attributes> {
  readonly inputs: readonly (Value | undefined)[];
  readonly attributes: Attributes;
  /** Refuses the node, with the reason. */
  readonly fail: (message: string) => never;
}

export interface OpDefinition<Attributes> {
  /** "" is ai.onnx; the other is ONNX Runtime's own set. */
  readonly domain: "" | "com.microsoft";
  infer(node: Inference<Attributes>): readonly ValueType[];
}

export type NoAttributes = Readonly<Record<never, never>>;

/** The input at `index`, which must be there. */
export function required(node: Inference<unknown>, index: number): Value {
  return node.inputs[index] ?? node.fail(`input ${index} is missing`);
}

/** The only shape that all the given inputs combine to. */
export function broadcastAll(node: Inference<unknown>, values: readonly Value[]): Shape {
  let shape: Shape = [];
  for (const value of values) {
    const next = broadcast(shape, value.shape);
    if (!next) return node.fail(`${showShape(value.shape)} does not broadcast with ${showShape(shape)}`);
    shape = next;
  }
  return shape;
}

export function expectDType(node: Inference<unknown>, value: Value, ...accepted: readonly DType[]): void {
  if (!accepted.includes(value.dtype))
    node.fail(`${value.name} is ${value.dtype}; accepted: ${accepted.join(", ")}`);
}

export function expectSameDType(node: Inference<unknown>, values: readonly Value[]): DType {
  const [first] = values;
  if (!first) return node.fail("no inputs");
  const other = values.find((value) => value.dtype !== first.dtype);
  if (other) node.fail(`${first.dtype} and ${other.dtype} do not mix`);
  return first.dtype;
}

/** `axis` counted from the front. */
export function axisOf(node: Inference<unknown>, axis: number, shape: Shape): number {
  return frontAxis(axis, shape.length) ?? node.fail(`axis ${axis} lies outside of ${showShape(shape)}`);
}

/** The integers of a constant input: axes, shapes and sizes must be known when the graph is built. */
export function constantIntegers(node: Inference<unknown>, index: number): readonly number[] {
  const value = required(node, index);
  if (value.constant?.dtype !== "int64") return node.fail(`input ${index} must be an int64 constant`);
  return Array.from(value.constant.data, Number);
}

/**
 * The dimensions that an int64 vector stands for: a constant, the graph's input for them, or the shape of the value that Shape was asked
 * about.
 */
export function dimensionsOf(node: Inference<unknown>, index: number): Shape {
  const operand = required(node, index);
  if (operand.sizes) return operand.sizes;
  const source = operand.producer?.op === "Shape" ? operand.producer.inputs[0] : undefined;
  return source ? source.shape : constantIntegers(node, index);
}

export function replaceAt(shape: Shape, axis: number, dim: Dim): Shape {
  return shape.map((old, i) => (i === axis ? dim : old));
}
