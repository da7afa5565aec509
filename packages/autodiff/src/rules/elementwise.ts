/** Rules of the element-by-element operators: dy is the gradient of the result y; `sumTo` undoes broadcasting. */
import {
  add,
  cast,
  div,
  type ElementwiseAttributes,
  equal,
  greater,
  greaterOrEqual,
  less,
  lessOrEqual,
  log,
  mul,
  neg,
  pow,
  sigmoid,
  sub,
  type Value,
  where,
} from "@oarlock/onnx";
import { flat, type Rule, rule, type Step, sumTo } from "../rule.ts";

type Plain = Step<unknown>;

const y = (step: Plain): Value => {
  const [first] = step.outputs;
  return first ?? step.dy();
};

/** dx = dy · slope(x, y). */
const unary = (slope: (x: Value, result: Value) => Value): Rule<unknown> =>
  rule((step) => [() => mul(step.thinDy(), slope(step.input(0), y(step)))]);

/** The gradient that both inputs of a broadcast operation would get, and how each turns it into its own. */
const binary = (left: (step: Plain) => Value, right: (step: Plain) => Value): Rule<unknown> =>
  rule((step) => [() => sumTo(left(step), step.input(0)), () => sumTo(right(step), step.input(1))]);

/** dy to the larger (or smaller) of a and b, half to each where they are equal (as PyTorch does). */
function share(step: Plain, wins: (a: Value, b: Value) => Value, from: 0 | 1): Value {
  const [own, other] = [step.input(from), step.input(1 - from)];
  const part = add(cast(wins(own, other), own.dtype), mul(cast(equal(own, other), own.dtype), 0.5));
  return mul(step.dy(), part);
}

const sign = (x: Value): Value => sub(cast(greater(x, 0), x.dtype), cast(less(x, 0), x.dtype));

/** d(a^b)/da = b · a^(b−1); a plain 2a for the square. */
function powerSlope(a: Value, b: Value): Value {
  return b.constant?.data.length === 1 && Number(b.constant.data[0]) === 2
    ? mul(a, 2)
    : mul(b, pow(a, sub(b, 1)));
}

function insideBounds(step: Plain): Value {
  const x = step.input(0);
  const [low, high] = [step.given(1), step.given(2)];
  const above = low && cast(greaterOrEqual(x, low), x.dtype);
  const below = high && cast(lessOrEqual(x, high), x.dtype);
  if (above && below) return mul(above, below);
  return above ?? below ?? cast(equal(x, x), x.dtype);
}

const truth = flat("a truth value has no slope");

export const elementwise: { readonly [Op in keyof ElementwiseAttributes]: Rule<ElementwiseAttributes[Op]> } =
  {
    Neg: rule((step) => [() => neg(step.thinDy())]),
    Exp: unary((_x, result) => result),
    Log: rule((step) => [() => div(step.thinDy(), step.input(0))]),
    Sqrt: rule((step) => [() => div(mul(step.thinDy(), 0.5), y(step))]),
    Reciprocal: unary((_x, result) => neg(mul(result, result))),
    Sigmoid: unary((_x, result) => mul(result, sub(1, result))),
    Tanh: unary((_x, result) => sub(1, mul(result, result))),
    Abs: unary(sign),
    Sin: unary((x) => x.graph.one("Cos", [x], {})),
    Cos: unary((x) => neg(x.graph.one("Sin", [x], {}))),
    Softplus: unary(sigmoid),
    Identity: rule((step) => [() => step.thinDy()]),
    // y = x·s with s = σ(αx): dy/dx = s + αy·(1 − s).
    QuickGelu: rule((step) => [
      () => {
        const { alpha } = step.attributes;
        const [x, result] = [step.input(0), y(step)];
        const s = sigmoid(alpha === 1 ? x : mul(x, alpha));
        const scaled = alpha === 1 ? result : mul(result, alpha);
        return mul(step.thinDy(), add(s, sub(scaled, mul(scaled, s))));
      },
    ]),
    Add: binary(
      (step) => step.dy(),
      (step) => step.dy(),
    ),
    Sub: binary(
      (step) => step.dy(),
      (step) => neg(step.dy()),
    ),
    Mul: binary(
      (step) => mul(step.dy(), step.input(1)),
      (step) => mul(step.dy(), step.input(0)),
    ),
    Div: binary(
      (step) => div(step.dy(), step.input(1)),
      (step) => neg(div(mul(step.dy(), y(step)), step.input(1))),
    ),
    Pow: binary(
      (step) => mul(step.dy(), powerSlope(step.input(0), step.input(1))),
      (step) => mul(step.dy(), mul(y(step), log(step.input(0)))),
    ),
    Max: binary(
      (step) => share(step, greater, 0),
      (step) => share(step, greater, 1),
    ),
    Min: binary(
      (step) => share(step, less, 0),
      (step) => share(step, less, 1),
    ),
    Greater: truth,
    GreaterOrEqual: truth,
    Less: truth,
    LessOrEqual: truth,
    Equal: truth,
    And: truth,
    Or: truth,
    Not: truth,
    IsNaN: truth,
    IsInf: truth,
    // By selection, so that a NaN on the side not taken stays there.
    Where: rule((step) => [
      () => step.dy(),
      () => sumTo(where(step.input(0), step.dy(), 0), step.input(1)),
      () => sumTo(where(step.input(0), 0, step.dy()), step.input(2)),
    ]),
    // The bounds themselves count as inside (as in PyTorch); bounds get no gradient.
    Clip: rule((step) => [() => mul(step.dy(), insideBounds(step))]),
    Cast: rule((step) => [() => cast(step.thinDy(), step.input(0).dtype)]),
  };
