/** Operators that combine the elements along axes. */
import { type Dim, type Shape } from "../shape.ts";
import {
  axisOf,
  constantIntegers,
  expectDType,
  type Inference,
  type NoAttributes,
  type OpDefinition,
  replaceAt,
  required,
} from "./definition.ts";

interface KeepDims {
  readonly keepdims: 0 | 1;
}

export interface ReductionAttributes {
  /** Inputs: x, axes (int64 constant; left out: all). */
  ReduceSum: KeepDims;
  ReduceMean: KeepDims;
  ReduceMax: KeepDims;
  ReduceMin: KeepDims;
  ReduceSumSquare: KeepDims;
  ArgMax: KeepDims & { readonly axis: number };
  /** Inputs: x, k (int64 constant of one element). Results: values, indices, largest first. */
  TopK: { readonly axis: number };
  /** Inputs: x, axis (int64 scalar constant). */
  CumSum: NoAttributes;
  Softmax: { readonly axis: number };
  LogSoftmax: { readonly axis: number };
}

/** The axes that a reduction runs over, counted from the front. */
export function reducedAxes(shape: Shape, axes: readonly number[] | undefined): readonly number[] {
  if (!axes) return shape.map((_, i) => i);
  return axes.map((axis) => (axis < 0 ? axis + shape.length : axis));
}

function reduced(node: Inference<KeepDims>): Shape {
  const { shape } = required(node, 0);
  const given = node.inputs[1] ? constantIntegers(node, 1) : undefined;
  for (const axis of given ?? []) axisOf(node, axis, shape);
  const axes = reducedAxes(shape, given);
  if (node.attributes.keepdims) return shape.map((dim, i): Dim => (axes.includes(i) ? 1 : dim));
  return shape.filter((_, i) => !axes.includes(i));
}

const reduce: OpDefinition<KeepDims> = {
  domain: "",
  infer(node) {
    const x = required(node, 0);
    expectDType(node, x, "float32", "float64", "int64", "int32");
    return [{ dtype: x.dtype, shape: reduced(node) }];
  },
};

const alongAxis: OpDefinition<{ readonly axis: number }> = {
  domain: "",
  infer(node) {
    const x = required(node, 0);
    expectDType(node, x, "float32", "float64");
    axisOf(node, node.attributes.axis, x.shape);
    return [{ dtype: x.dtype, shape: x.shape }];
  },
};

export const reduction: {
  readonly [Op in keyof ReductionAttributes]: OpDefinition<ReductionAttributes[Op]>;
} = {
  ReduceSum: reduce,
  ReduceMean: reduce,
  ReduceMax: reduce,
  ReduceMin: reduce,
  ReduceSumSquare: reduce,
  ArgMax: {
    domain: "",
    infer(node) {
      const x = required(node, 0);
      const axis = axisOf(node, node.attributes.axis, x.shape);
      const shape = node.attributes.keepdims
        ? replaceAt(x.shape, axis, 1)
        : x.shape.filter((_, i) => i !== axis);
      return [{ dtype: "int64", shape }];
    },
  },
  TopK: {
    domain: "",
    infer(node) {
      const x = required(node, 0);
      const axis = axisOf(node, node.attributes.axis, x.shape);
      const [k] = constantIntegers(node, 1);
      const shape = replaceAt(x.shape, axis, k ?? node.fail("k is missing"));
      return [
        { dtype: x.dtype, shape },
        { dtype: "int64", shape },
      ];
    },
  },
  CumSum: {
    domain: "",
    infer(node) {
      const x = required(node, 0);
      return [{ dtype: x.dtype, shape: x.shape }];
    },
  },
  Softmax: alongAxis,
  LogSoftmax: alongAxis,
};
