/** Matrix products. */
import { broadcast, type Dim, type Shape, showShape } from "../shape.ts";
import {
  expectDType,
  expectSameDType,
  type Inference,
  type NoAttributes,
  type OpDefinition,
  required,
} from "./definition.ts";

export interface LinalgAttributes {
  MatMul: NoAttributes;
  /** alpha · op(A) · op(B), where op swaps the last two dimensions on request. */
  FusedMatMul: { readonly transA?: 0 | 1; readonly transB?: 0 | 1; readonly alpha?: number };
  /** alpha · op(A) · op(B) + beta · C for matrices; C broadcasts. */
  Gemm: { readonly transA?: 0 | 1; readonly transB?: 0 | 1; readonly alpha?: number; readonly beta?: number };
}

const swapLast = (shape: Shape): Shape => [...shape.slice(0, -2), ...shape.slice(-2).reverse()];

function productShape(node: Inference<unknown>, a: Shape, b: Shape): Shape {
  if (a.length < 2 || b.length < 2) return node.fail("both factors need two dimensions or more");
  const [rows, inner] = a.slice(-2);
  const [depth, columns] = b.slice(-2);
  if (inner !== depth) return node.fail(`inner dimensions ${inner} and ${depth} differ`);
  const batch = broadcast(a.slice(0, -2), b.slice(0, -2));
  if (!batch) return node.fail(`batch dimensions of ${showShape(a)} and ${showShape(b)} do not broadcast`);
  return [...batch, rows, columns].filter((dim): dim is Dim => dim !== undefined);
}

export const linalg: { readonly [Op in keyof LinalgAttributes]: OpDefinition<LinalgAttributes[Op]> } = {
  MatMul: {
    domain: "",
    infer(node) {
      const [a, b] = [required(node, 0), required(node, 1)];
      expectDType(node, a, "float32", "float64");
      return [{ dtype: expectSameDType(node, [a, b]), shape: productShape(node, a.shape, b.shape) }];
    },
  },
  FusedMatMul: {
    domain: "com.microsoft",
    infer(node) {
      const [a, b] = [required(node, 0), required(node, 1)];
      expectDType(node, a, "float32", "float64");
      const left = node.attributes.transA ? swapLast(a.shape) : a.shape;
      const right = node.attributes.transB ? swapLast(b.shape) : b.shape;
      return [{ dtype: expectSameDType(node, [a, b]), shape: productShape(node, left, right) }];
    },
  },
  Gemm: {
    domain: "",
    infer(node) {
      const [a, b, c] = [required(node, 0), required(node, 1), node.inputs[2]];
      if (a.shape.length !== 2 || b.shape.length !== 2) node.fail("Gemm takes matrices");
      expectSameDType(node, c ? [a, b, c] : [a, b]);
      const left = node.attributes.transA ? swapLast(a.shape) : a.shape;
      const right = node.attributes.transB ? swapLast(b.shape) : b.shape;
      const shape = productShape(node, left, right);
      const combined = c ? broadcast(shape, c.shape) : shape;
      if (!combined || combined.length !== 2)
        node.fail(`C of ${showShape(c?.shape ?? [])} does not broadcast to ${showShape(shape)}`);
      return [{ dtype: a.dtype, shape }];
    },
  },
};
