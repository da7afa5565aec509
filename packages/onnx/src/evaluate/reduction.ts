/** Reference kernels of the reductions and of the operators that normalise along an axis. */
import { type ReductionAttributes, reducedAxes } from "../ops/reduction.ts";
import { at, type Dense, forEachLine, sizeOf, stridesOf, zeros } from "./dense.ts";
import { integersOf, type Kernel, operand, type Operands } from "./kernel.ts";

interface Fold {
  readonly start: number;
  readonly step: (total: number, x: number) => number;
}

function fold(x: Dense, axes: readonly number[], keepdims: 0 | 1, { start, step }: Fold): Dense {
  const kept = x.shape.map((size, i) => (axes.includes(i) ? 1 : size));
  const result = { shape: kept, data: zeros(kept).data.fill(start) };
  const [own, target] = [stridesOf(x.shape), stridesOf(kept)];
  x.data.forEach((value, flat) => {
    const index = own.reduce((sum, stride, i) => {
      const coordinate = axes.includes(i) ? 0 : Math.floor(flat / stride) % sizeOf(x.shape, i);
      return sum + coordinate * (target[i] ?? 0);
    }, 0);
    result.data[index] = step(at(result.data, index), value);
  });
  return keepdims ? result : { shape: x.shape.filter((_, i) => !axes.includes(i)), data: result.data };
}

const axesOf = (inputs: Operands) =>
  reducedAxes(operand(inputs, 0).shape, inputs[1] ? integersOf(inputs, 1) : undefined);

const reduce =
  (how: Fold): Kernel<{ readonly keepdims: 0 | 1 }> =>
  (inputs, { keepdims }) => [fold(operand(inputs, 0), axesOf(inputs), keepdims, how)];

const add: Fold = { start: 0, step: (total, x) => total + x };

const mean: Kernel<{ readonly keepdims: 0 | 1 }> = (inputs, { keepdims }) => {
  const x = operand(inputs, 0);
  const total = fold(x, axesOf(inputs), keepdims, add);
  const count = x.data.length / Math.max(total.data.length, 1);
  return [{ shape: total.shape, data: total.data.map((sum) => sum / count) }];
};

/** Replaces every line along the axis by `f` of it. */
const alongAxis =
  (f: (line: Float64Array) => Float64Array): Kernel<{ readonly axis: number }> =>
  (inputs, { axis }) => {
    const x = operand(inputs, 0);
    const result = zeros(x.shape);
    forEachLine(x.shape, axis, (start, { size, inner }) => {
      const line = Float64Array.from({ length: size }, (_, i) => at(x.data, start + i * inner));
      f(line).forEach((value, i) => (result.data[start + i * inner] = value));
    });
    return [result];
  };

function logSoftmax(line: Float64Array): Float64Array {
  const highest = line.reduce((a, b) => Math.max(a, b), -Infinity);
  const logSum = highest + Math.log(line.reduce((sum, x) => sum + Math.exp(x - highest), 0));
  return line.map((x) => x - logSum);
}

function runningSum(line: Float64Array): Float64Array {
  let total = 0;
  return line.map((x) => (total += x));
}

/** The k largest of each line, largest first; of equals the first comes first. */
function largest(x: Dense, axis: number, k: number): { values: Dense; indices: Dense } {
  const front = axis < 0 ? axis + x.shape.length : axis;
  const shape = x.shape.map((size, i) => (i === front ? k : size));
  const [values, indices] = [zeros(shape), zeros(shape)];
  forEachLine(x.shape, axis, (start, { size, inner }) => {
    const order = Array.from({ length: size }, (_, i) => i);
    order.sort((a, b) => at(x.data, start + b * inner) - at(x.data, start + a * inner) || a - b);
    const outer = Math.floor(start / (size * inner));
    order.slice(0, k).forEach((index, rank) => {
      const target = outer * k * inner + (start % inner) + rank * inner;
      values.data[target] = at(x.data, start + index * inner);
      indices.data[target] = index;
    });
  });
  return { values, indices };
}

export const reduction: { readonly [Op in keyof ReductionAttributes]: Kernel<ReductionAttributes[Op]> } = {
  ReduceSum: reduce(add),
  ReduceMean: mean,
  ReduceMax: reduce({ start: -Infinity, step: Math.max }),
  ReduceMin: reduce({ start: Infinity, step: Math.min }),
  ReduceSumSquare: reduce({ start: 0, step: (total, x) => total + x * x }),
  ArgMax: (inputs, { axis, keepdims }) => {
    const { indices } = largest(operand(inputs, 0), axis, 1);
    const front = axis < 0 ? axis + indices.shape.length : axis;
    return [keepdims ? indices : { shape: indices.shape.filter((_, i) => i !== front), data: indices.data }];
  },
  TopK: (inputs, { axis }) => {
    const { values, indices } = largest(operand(inputs, 0), axis, integersOf(inputs, 1)[0] ?? 1);
    return [values, indices];
  },
  CumSum: (inputs) => {
    const [axis = 0] = integersOf(inputs, 1);
    return alongAxis(runningSum)(inputs, { axis });
  },
  Softmax: alongAxis((line) => logSoftmax(line).map(Math.exp)),
  LogSoftmax: alongAxis(logSoftmax),
};
