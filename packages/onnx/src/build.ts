/**
 * Operators as functions of values, so that a model reads like its formulas: `mul(silu(gate), up)`.
 * A plain number stands for a constant of its partner's type. Broadcasting follows NumPy.
 */
import { OarlockError } from "@oarlock/errors";
import { createTypedArray, type DType, tensor } from "@oarlock/tensor";
import type { Graph, Value } from "./graph.ts";
import type { OpName } from "./ops/index.ts";
import type { ElementwiseAttributes } from "./ops/elementwise.ts";
import { type Dim, type Shape, showShape } from "./shape.ts";

type Operand = Value | number;

/** A scalar constant of `like`'s type in `like`'s graph. */
export function constantLike(like: Value, value: number): Value {
  const data = createTypedArray(like.dtype, 1);
  if (data instanceof BigInt64Array) data[0] = BigInt(value);
  else data[0] = value;
  return like.graph.constant(tensor<DType>(like.dtype, [], data));
}

function operands(a: Operand, b: Operand): [Value, Value] {
  if (typeof a !== "number") return [a, typeof b === "number" ? constantLike(a, b) : b];
  if (typeof b !== "number") return [constantLike(b, a), b];
  throw new OarlockError("ONNX_NODE", "an operation on two plain numbers has no graph");
}

type Simple = {
  [Op in keyof ElementwiseAttributes]: Record<never, never> extends ElementwiseAttributes[Op] ? Op : never;
}[keyof ElementwiseAttributes];

const unary =
  (op: Simple) =>
  (x: Value): Value =>
    x.graph.one(op, [x], {});
const binary =
  (op: Simple) =>
  (a: Operand, b: Operand): Value => {
    const [left, right] = operands(a, b);
    return left.graph.one(op, [left, right], {});
  };

export const neg: (x: Value) => Value = unary("Neg");
export const exp: (x: Value) => Value = unary("Exp");
export const log: (x: Value) => Value = unary("Log");
export const sqrt: (x: Value) => Value = unary("Sqrt");
export const reciprocal: (x: Value) => Value = unary("Reciprocal");
export const sigmoid: (x: Value) => Value = unary("Sigmoid");
export const tanh: (x: Value) => Value = unary("Tanh");
export const abs: (x: Value) => Value = unary("Abs");
export const softplus: (x: Value) => Value = unary("Softplus");
export const identity: (x: Value) => Value = unary("Identity");
export const not: (x: Value) => Value = unary("Not");
export const isNaN: (x: Value) => Value = unary("IsNaN");
export const add: (a: Operand, b: Operand) => Value = binary("Add");
export const sub: (a: Operand, b: Operand) => Value = binary("Sub");
export const mul: (a: Operand, b: Operand) => Value = binary("Mul");
export const div: (a: Operand, b: Operand) => Value = binary("Div");
export const pow: (a: Operand, b: Operand) => Value = binary("Pow");
export const max: (a: Operand, b: Operand) => Value = binary("Max");
export const min: (a: Operand, b: Operand) => Value = binary("Min");
export const greater: (a: Operand, b: Operand) => Value = binary("Greater");
export const greaterOrEqual: (a: Operand, b: Operand) => Value = binary("GreaterOrEqual");
export const less: (a: Operand, b: Operand) => Value = binary("Less");
export const lessOrEqual: (a: Operand, b: Operand) => Value = binary("LessOrEqual");
export const equal: (a: Operand, b: Operand) => Value = binary("Equal");
export const and: (a: Operand, b: Operand) => Value = binary("And");
export const or: (a: Operand, b: Operand) => Value = binary("Or");

/** x · sigmoid(x), elementwise. */
export function silu(x: Value): Value {
  return x.graph.one("QuickGelu", [x], { alpha: 1 });
}

/** `yes` where `condition` (bool) holds, else `no`. */
export function where(condition: Value, yes: Operand, no: Operand): Value {
  const [left, right] = operands(yes, no);
  return condition.graph.one("Where", [condition, left, right], {});
}

/** x kept inside [lowest, highest]. */
export function clip(x: Value, lowest: number, highest: number): Value {
  return x.graph.one("Clip", [x, constantLike(x, lowest), constantLike(x, highest)], {});
}

/** `x` as another element type; itself where it has that type. */
export function cast(x: Value, to: DType): Value {
  return x.dtype === to ? x : x.graph.one("Cast", [x], { to });
}

/** a · b over the last two dimensions, [.., M, K] × [.., K, N] → [.., M, N]; the others broadcast. */
export function matMul(a: Value, b: Value): Value {
  return a.graph.one("MatMul", [a, b], {});
}

/** alpha · op(a) · op(b), where op swaps the last two dimensions on request. */
export function fusedMatMul(
  a: Value,
  b: Value,
  options: { transA?: 0 | 1; transB?: 0 | 1; alpha?: number },
): Value {
  if (!a.graph.without.has("FusedMatMul")) return a.graph.one("FusedMatMul", [a, b], options);
  const product = matMul(options.transA ? swapLast(a) : a, options.transB ? swapLast(b) : b);
  return options.alpha === undefined || options.alpha === 1 ? product : mul(product, options.alpha);
}

/** alpha · op(a) · op(b) + c for matrices, c of the result's shape. */
export function matMulAdd(
  a: Value,
  b: Value,
  c: Value,
  options: { transA?: 0 | 1; transB?: 0 | 1; alpha?: number },
): Value {
  return a.graph.one("Gemm", [a, b, c], options);
}

/** The last two dimensions swapped. */
function swapLast(x: Value): Value {
  const axes = x.shape.map((_, axis) => axis);
  return transpose(x, [...axes.slice(0, -2), axes.length - 1, axes.length - 2]);
}

/** `target`: 0 keeps a dimension, one −1 takes the rest. */
export function reshape(x: Value, target: Shape): Value {
  const isOpen = (dim: Dim): boolean => dim === -1 || typeof dim === "string";
  if (target.filter(isOpen).length !== 1) return x.graph.one("Reshape", [x, x.graph.sizes(target)], {});
  // One size follows from the others, whether it has a name or not.
  const sizes = target.map((dim) => (isOpen(dim) ? -1 : dim));
  const result = x.graph.one("Reshape", [x, x.graph.sizes(sizes)], {});
  const wrong = target.findIndex((dim, axis) => typeof dim === "string" && dim !== result.shape[axis]);
  if (wrong < 0) return result;
  const asked = `${showShape(x.shape)} becomes ${showShape(result.shape)}, not ${showShape(target)}`;
  throw new OarlockError("ONNX_NODE", `${result.name}: ${asked}`);
}

/** Dimension i of the result is dimension `perm[i]` of `x`. */
export function transpose(x: Value, perm: readonly number[]): Value {
  return x.graph.one("Transpose", [x], { perm });
}

/** The parts one after the other along `axis`; their other dimensions are the same. */
export function concat(parts: readonly [Value, ...Value[]], axis: number): Value {
  return parts[0].graph.one("Concat", parts, { axis });
}

/** Elements `start` (included) to `end` (excluded) of one axis. */
export function slice(x: Value, axis: number, start: number, end: number): Value {
  const { graph } = x;
  return graph.one("Slice", [x, graph.integers([start]), graph.integers([end]), graph.integers([axis])], {});
}

/** Consecutive pieces of the given sizes along `axis`. */
export function split(x: Value, sizes: Shape, axis: number): readonly Value[] {
  return x.graph.add("Split", [x, x.graph.sizes(sizes)], { axis });
}

/** Slices of `data` along `axis`: that dimension is replaced by the shape of `indices` (int64). */
export function gather(data: Value, indices: Value, axis: number): Value {
  return data.graph.one("Gather", [data, indices], { axis });
}

/** One element of `data` for each of `indices`, whose shape the result has: `data[.., indices[.., i, ..], ..]` along `axis`. */
export function gatherElements(data: Value, indices: Value, axis: number): Value {
  return data.graph.one("GatherElements", [data, indices], { axis });
}

/** `data` with `updates` added at `indices` along `axis`; duplicates add up. */
export function scatterAdd(data: Value, indices: Value, updates: Value, axis: number): Value {
  return data.graph.one("ScatterElements", [data, indices, updates], { axis, reduction: "add" });
}

/** `x` with dimensions of size 1 at these axes of the result. */
export function unsqueeze(x: Value, axes: readonly number[]): Value {
  return x.graph.one("Unsqueeze", [x, x.graph.integers(axes)], {});
}

/** `x` without these axes, which have size 1. */
export function squeeze(x: Value, axes: readonly number[]): Value {
  return x.graph.one("Squeeze", [x, x.graph.integers(axes)], {});
}

/** `x` broadcast with `shape`: where that is 1, the size of `x` stays. */
export function expand(x: Value, shape: Shape): Value {
  return x.graph.one("Expand", [x, x.graph.sizes(shape)], {});
}

/** `x` broadcast to the shape of `like`. */
export function expandLike(x: Value, like: Value): Value {
  return x.graph.one("Expand", [x, shapeOf(like)], {});
}

/** Zeros of the shape and type of `like`. */
export function zerosLike(like: Value): Value {
  return cast(like.graph.one("ConstantOfShape", [shapeOf(like)], {}), like.dtype);
}

/** The shape of `x` as an int64 vector: a constant where every dimension is fixed. */
export function shapeOf(x: Value): Value {
  const fixed = x.shape.filter((dim) => typeof dim === "number");
  return fixed.length === x.shape.length ? x.graph.integers(fixed) : x.graph.one("Shape", [x], {});
}

interface ReduceOptions {
  /** Left out: all axes. */
  readonly axes?: readonly number[];
  readonly keepdims?: boolean;
}
type Reduction = Extract<OpName, `Reduce${string}`>;

const reduce =
  (op: Reduction) =>
  (x: Value, { axes, keepdims = false }: ReduceOptions = {}): Value =>
    x.graph.one(op, [x, axes && x.graph.integers(axes)], { keepdims: keepdims ? 1 : 0 });

export const reduceSum: (x: Value, options?: ReduceOptions) => Value = reduce("ReduceSum");
export const reduceMean: (x: Value, options?: ReduceOptions) => Value = reduce("ReduceMean");
export const reduceMax: (x: Value, options?: ReduceOptions) => Value = reduce("ReduceMax");
export const reduceSumSquare: (x: Value, options?: ReduceOptions) => Value = reduce("ReduceSumSquare");

/** exp(x) / Σ exp(x) along `axis`; same shape. */
export function softmax(x: Value, axis = -1): Value {
  return x.graph.one("Softmax", [x], { axis });
}

/** x − log Σ exp(x) along `axis`; same shape. */
export function logSoftmax(x: Value, axis = -1): Value {
  return x.graph.one("LogSoftmax", [x], { axis });
}

/** Running sum along `axis`. */
export function cumSum(x: Value, axis: number): Value {
  const at = x.graph.constant(tensor("int64", [], BigInt64Array.of(BigInt(axis))));
  return x.graph.one("CumSum", [x, at], {});
}

/** Index (int64) of the largest element along `axis`, the first of equals; the axis is gone. */
export function argMax(x: Value, axis: number): Value {
  return x.graph.one("ArgMax", [x], { axis, keepdims: 0 });
}

/** A vector of float32 as a constant of `graph`. */
export function vector(graph: Graph, values: readonly number[]): Value {
  return graph.constant(tensor("float32", [values.length], Float32Array.from(values)));
}
