/** Reference kernels of the matrix products: plain loops over [.., M, K] × [.., K, N]. */
import type { LinalgAttributes } from "../ops/linalg.ts";
import {
  at,
  broadcastShape,
  type Dense,
  expandTo,
  gatherStrided,
  sizeOf,
  stridesOf,
  zeros,
} from "./dense.ts";
import { type Kernel, operand } from "./kernel.ts";

/** Swaps the last two axes where asked to. */
function transposed(dense: Dense, swap: 0 | 1 | undefined): Dense {
  if (!swap) return dense;
  const order = dense.shape.map((_, axis) => axis);
  const rank = order.length;
  [order[rank - 2], order[rank - 1]] = [rank - 1, rank - 2];
  const strides = stridesOf(dense.shape);
  return gatherStrided(
    dense,
    order.map((axis) => sizeOf(dense.shape, axis)),
    { strides: order.map((axis) => strides[axis] ?? 0), offset: 0 },
  );
}

/** alpha · A · B with broadcast batch axes. */
function multiply(a: Dense, b: Dense, alpha = 1): Dense {
  const [rows, inner, columns] = [sizeOf(a.shape, -2), sizeOf(a.shape, -1), sizeOf(b.shape, -1)];
  const batch = broadcastShape([a.shape.slice(0, -2), b.shape.slice(0, -2)]);
  const left = expandTo(a, [...batch, rows, inner]);
  const right = expandTo(b, [...batch, inner, columns]);
  const result = zeros([...batch, rows, columns]);
  const batches = result.data.length / Math.max(1, rows * columns);
  for (let n = 0; n < batches; n++) {
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        let sum = 0;
        for (let k = 0; k < inner; k++) {
          sum += at(left.data, (n * rows + i) * inner + k) * at(right.data, (n * inner + k) * columns + j);
        }
        result.data[(n * rows + i) * columns + j] = alpha * sum;
      }
    }
  }
  return result;
}

export const linalg: { readonly [Op in keyof LinalgAttributes]: Kernel<LinalgAttributes[Op]> } = {
  MatMul: (inputs) => [multiply(operand(inputs, 0), operand(inputs, 1))],
  FusedMatMul: (inputs, { transA, transB, alpha }) => [
    multiply(transposed(operand(inputs, 0), transA), transposed(operand(inputs, 1), transB), alpha),
  ],
  Gemm: (inputs, { transA, transB, alpha, beta = 1 }) => {
    const product = multiply(
      transposed(operand(inputs, 0), transA),
      transposed(operand(inputs, 1), transB),
      alpha,
    );
    const c = inputs[2] && expandTo(inputs[2], product.shape);
    return [{ shape: product.shape, data: product.data.map((x, i) => x + beta * (c?.data[i] ?? 0)) }];
  },
};
