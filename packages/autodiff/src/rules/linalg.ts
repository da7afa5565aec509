/**
 * Rules of the matrix products. For Y = α · op(A) · op(B), the gradients are products again, with the transposes folded
 * into the product's own flags, so that no transposed copy is ever written.
 */
import {
  add,
  fusedMatMul,
  type LinalgAttributes,
  matMul,
  matMulAdd,
  mul,
  reduceSum,
  reshape,
  type Value,
} from "@oarlock/onnx";
import { accumulating, type Rule, rule, sumTo } from "../rule.ts";

interface Flags {
  readonly transA?: 0 | 1;
  readonly transB?: 0 | 1;
  readonly alpha?: number;
}

/** The cheapest node for α · op(A) · op(B). */
function multiply(a: Value, b: Value, { transA = 0, transB = 0, alpha = 1 }: Flags): Value {
  if (!transA && !transB && alpha === 1) return matMul(a, b);
  return fusedMatMul(a, b, { transA, transB, alpha });
}

const flip = (flag: 0 | 1): 0 | 1 => (flag ? 0 : 1);

/** All leading axes as one: [.., M, K] → [rows, K]. */
function asMatrix(x: Value): Value {
  const width = x.shape.at(-1);
  return x.shape.length === 2 ? x : reshape(x, [-1, typeof width === "number" ? width : 0]);
}

interface Product extends Flags {
  readonly a: Value;
  readonly b: Value;
  readonly dy: Value;
}

function gradientOfA({ a, b, dy, transA = 0, transB = 0, alpha = 1 }: Product): Value {
  const da = transA
    ? multiply(b, dy, { transA: transB, transB: 1, alpha })
    : multiply(dy, b, { transB: flip(transB), alpha });
  return sumTo(da, a);
}

/** The product that is the gradient of B before broadcasting is undone: its factors and flags. */
function factorsOfB({ a, b, dy, transA = 0, transB = 0, alpha = 1 }: Product): [Value, Value, Flags] {
  // A weight shared by all rows: one product over [rows, K] instead of one for each batch and a sum.
  const shared = b.shape.length === 2 && a.shape.length > 2 && !transA && typeof a.shape.at(-1) === "number";
  const [x, up] = shared ? [asMatrix(a), asMatrix(dy)] : [a, dy];
  return transB ? [up, x, { transA: 1, transB: transA, alpha }] : [x, up, { transA: flip(transA), alpha }];
}

/** Added to `known`, where that is given: of matrices the product starts from it. */
function gradientOfB(parts: Product, known?: Value): Value {
  const [left, right, flags] = factorsOfB(parts);
  const areMatrices = left.shape.length === 2 && right.shape.length === 2;
  if (known && areMatrices) return matMulAdd(left, right, known, flags);
  const db = sumTo(multiply(left, right, flags), parts.b);
  return known ? add(known, db) : db;
}

const product: Rule<Flags> = rule((step) => {
  const parts = (): Product => ({ ...step.attributes, a: step.input(0), b: step.input(1), dy: step.dy() });
  return [() => gradientOfA(parts()), accumulating((known) => gradientOfB(parts(), known))];
});

export const linalg: { readonly [Op in keyof LinalgAttributes]: Rule<LinalgAttributes[Op]> } = {
  MatMul: product,
  FusedMatMul: product,
  Gemm: rule((step) => {
    const { beta = 1, ...flags } = step.attributes;
    const parts = (): Product => ({ ...flags, a: step.input(0), b: step.input(1), dy: step.dy() });
    return [
      () => gradientOfA(parts()),
      accumulating((known) => gradientOfB(parts(), known)),
      () => {
        const c = step.input(2);
        const scaled = beta === 1 ? step.dy() : mul(step.dy(), beta);
        return c.shape.length === 0 ? reduceSum(scaled) : sumTo(scaled, c);
      },
    ];
  }),
};
