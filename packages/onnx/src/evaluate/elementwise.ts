/** Reference kernels of the element-by-element operators. */
import type { ElementwiseAttributes } from "../ops/elementwise.ts";
import { broadcastShape, type Dense, expandTo } from "./dense.ts";
import { type Kernel, operand } from "./kernel.ts";

const unary =
  (f: (x: number) => number): Kernel<unknown> =>
  (inputs) => {
    const x = operand(inputs, 0);
    return [{ shape: x.shape, data: x.data.map(f) }];
  };

const binary =
  (f: (a: number, b: number) => number): Kernel<unknown> =>
  (inputs) => {
    const shape = broadcastShape([operand(inputs, 0).shape, operand(inputs, 1).shape]);
    const a = expandTo(operand(inputs, 0), shape);
    const b = expandTo(operand(inputs, 1), shape);
    return [{ shape, data: a.data.map((x, i) => f(x, b.data[i] ?? 0)) }];
  };

const truth =
  (f: (a: number, b: number) => boolean): Kernel<unknown> =>
  (inputs, attributes) =>
    binary((a, b) => Number(f(a, b)))(inputs, attributes);

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const same = (x: number) => x;

function cast(to: ElementwiseAttributes["Cast"]["to"]): (x: number) => number {
  if (to === "bool") return (x) => Number(x !== 0);
  return to === "float32" || to === "float64" || to === "float16" || to === "bfloat16" ? same : Math.trunc;
}

const bound = (dense: Dense | undefined, otherwise: number) => dense?.data[0] ?? otherwise;

export const elementwise: {
  readonly [Op in keyof ElementwiseAttributes]: Kernel<ElementwiseAttributes[Op]>;
} = {
  Neg: unary((x) => -x),
  Exp: unary(Math.exp),
  Log: unary(Math.log),
  Sqrt: unary(Math.sqrt),
  Reciprocal: unary((x) => 1 / x),
  Sigmoid: unary(sigmoid),
  Tanh: unary(Math.tanh),
  Abs: unary(Math.abs),
  Sin: unary(Math.sin),
  Cos: unary(Math.cos),
  Softplus: unary((x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))),
  Identity: unary(same),
  QuickGelu: (inputs, { alpha }) => unary((x) => x * sigmoid(alpha * x))(inputs, {}),
  Add: binary((a, b) => a + b),
  Sub: binary((a, b) => a - b),
  Mul: binary((a, b) => a * b),
  Div: binary((a, b) => a / b),
  Pow: binary(Math.pow),
  Max: binary(Math.max),
  Min: binary(Math.min),
  Greater: truth((a, b) => a > b),
  GreaterOrEqual: truth((a, b) => a >= b),
  Less: truth((a, b) => a < b),
  LessOrEqual: truth((a, b) => a <= b),
  Equal: truth((a, b) => a === b),
  And: truth((a, b) => a !== 0 && b !== 0),
  Or: truth((a, b) => a !== 0 || b !== 0),
  Not: unary((x) => Number(x === 0)),
  IsNaN: unary((x) => Number(Number.isNaN(x))),
  IsInf: unary((x) => Number(Math.abs(x) === Infinity)),
  Where: (inputs) => {
    const shape = broadcastShape([0, 1, 2].map((index) => operand(inputs, index).shape));
    const condition = expandTo(operand(inputs, 0), shape);
    const yes = expandTo(operand(inputs, 1), shape);
    const no = expandTo(operand(inputs, 2), shape);
    return [{ shape, data: condition.data.map((c, i) => (c === 0 ? no.data[i] : yes.data[i]) ?? 0) }];
  },
  Clip: (inputs, attributes) => {
    const [low, high] = [bound(inputs[1], -Infinity), bound(inputs[2], Infinity)];
    return unary((x) => Math.min(Math.max(x, low), high))(inputs, attributes);
  },
  Cast: (inputs, { to }) => unary(cast(to))(inputs, {}),
};
