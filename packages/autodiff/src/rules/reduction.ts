/** Rules of the reductions: a sum's gradient is the same for every element that went into it, so it stays thin. */
import {
  add,
  cast,
  div,
  equal,
  exp,
  mul,
  reducedAxes,
  reduceSum,
  type ReductionAttributes,
  scatterAdd,
  sub,
  unsqueeze,
  type Value,
  cumSum,
  zerosLike,
} from "@oarlock/onnx";
import { flat, type Rule, rule, type Step } from "../rule.ts";

interface KeepDims {
  readonly keepdims: 0 | 1;
}

function axesOf(step: Step<unknown>): readonly number[] {
  const given = step.given(1)?.constant;
  return reducedAxes(step.input(0).shape, given && Array.from(given.data, Number));
}

/** A reduced value with its reduced axes back as sizes of 1. */
function withAxes(value: Value, step: Step<KeepDims>): Value {
  return step.attributes.keepdims ? value : unsqueeze(value, axesOf(step));
}

/** How many elements each result combines: a number, or a value where a size has a name. */
function countOf(step: Step<unknown>): number | Value {
  const x = step.input(0);
  const axes = axesOf(step);
  const sizes = axes.map((axis) => x.shape[axis]);
  const fixed = sizes.filter((size) => typeof size === "number");
  if (fixed.length === sizes.length) return fixed.reduce((product, size) => product * size, 1);
  return reduceSum(add(zerosLike(x), 1), { axes, keepdims: true });
}

/** dy to the extreme elements, in equal shares where several are extreme. */
const extreme: Rule<KeepDims> = rule((step) => [
  () => {
    const x = step.input(0);
    const [result] = step.outputs;
    const chosen = cast(equal(x, withAxes(result ?? x, step)), x.dtype);
    const shares = reduceSum(chosen, { axes: axesOf(step), keepdims: true });
    return mul(chosen, div(withAxes(step.dy(), step), shares));
  },
]);

export const reduction: { readonly [Op in keyof ReductionAttributes]: Rule<ReductionAttributes[Op]> } = {
  ReduceSum: rule((step) => [() => withAxes(step.dy(), step)]),
  ReduceMean: rule((step) => [() => div(withAxes(step.dy(), step), countOf(step))]),
  ReduceMax: extreme,
  ReduceMin: extreme,
  ReduceSumSquare: rule((step) => [() => mul(mul(step.input(0), 2), withAxes(step.dy(), step))]),
  ArgMax: flat("an index has no slope"),
  TopK: rule((step) => [
    () => {
      const indices = step.outputs[1] ?? step.dy();
      return scatterAdd(zerosLike(step.input(0)), indices, step.dy(), step.attributes.axis);
    },
  ]),
  // x_i is part of every sum from i on: total − (sum up to i) + own.
  CumSum: rule((step) => [
    () => {
      const axis = Number(step.input(1).constant?.data[0] ?? 0);
      const total = reduceSum(step.dy(), { axes: [axis], keepdims: true });
      return add(sub(total, cumSum(step.dy(), axis)), step.dy());
    },
  ]),
  // y = softmax(x): dx = y · (dy − Σ dy·y).
  Softmax: rule((step) => [
    () => {
      const y = step.outputs[0] ?? step.dy();
      const inner = reduceSum(mul(step.dy(), y), { axes: [step.attributes.axis], keepdims: true });
      return mul(y, sub(step.dy(), inner));
    },
  ]),
  // y = log softmax(x): dx = dy − exp(y) · Σ dy.
  LogSoftmax: rule((step) => [
    () => {
      const y = step.outputs[0] ?? step.dy();
      const total = reduceSum(step.dy(), { axes: [step.attributes.axis], keepdims: true });
      return sub(step.dy(), mul(exp(y), total));
    },
  ]),
};
