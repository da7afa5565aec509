/** Reference kernels of the fused transformer operators that training uses. */
import type { TransformerAttributes } from "../ops/transformer.ts";
import { at, type Dense, forEachLine, sizeOf, zeros } from "./dense.ts";
import { type Kernel, notEvaluated, operand, type Operands } from "./kernel.ts";

const rmsNorm: Kernel<{ readonly epsilon: number }> = (inputs, { epsilon }) => {
  const [x, scale] = [operand(inputs, 0), operand(inputs, 1)];
  const width = sizeOf(x.shape, -1);
  const y = zeros(x.shape);
  const inverse = zeros([...x.shape.slice(0, -1), 1]);
  forEachLine(x.shape, -1, (start) => {
    let squares = 0;
    for (let i = 0; i < width; i++) squares += at(x.data, start + i) ** 2;
    const factor = 1 / Math.sqrt(squares / width + epsilon);
    inverse.data[start / width] = factor;
    for (let i = 0; i < width; i++) y.data[start + i] = at(x.data, start + i) * factor * at(scale.data, i);
  });
  return [y, inverse];
};

interface Angles {
  readonly cos: number;
  readonly sin: number;
}

/** The rotation of pair `pair` at time `t` of row `row`: through position ids where they are given. */
function angleReader(inputs: Operands, times: number): (row: number, t: number, pair: number) => Angles {
  const [cos, sin, positions] = [operand(inputs, 1), operand(inputs, 2), inputs[3]];
  const pairs = sizeOf(cos.shape, -1);
  return (row, t, pair) => {
    const line = positions ? at(positions.data, row * times + t) : row * times + t;
    return { cos: at(cos.data, line * pairs + pair), sin: at(sin.data, line * pairs + pair) };
  };
}

/** How [B, T, heads · size] or [B, heads, T, size] is laid out: flat index of the first element of a head at a time. */
function headLayout(
  x: Dense,
  numHeads: number | undefined,
): { dims: [number, number, number, number]; start: HeadStart } {
  const rows = sizeOf(x.shape, 0);
  if (x.shape.length === 4) {
    const [heads, times, size] = [sizeOf(x.shape, 1), sizeOf(x.shape, 2), sizeOf(x.shape, 3)];
    return { dims: [rows, heads, times, size], start: (b, h, t) => ((b * heads + h) * times + t) * size };
  }
  const [times, heads] = [sizeOf(x.shape, 1), numHeads ?? 1];
  const size = sizeOf(x.shape, 2) / heads;
  return { dims: [rows, heads, times, size], start: (b, h, t) => ((b * times + t) * heads + h) * size };
}
type HeadStart = (row: number, head: number, time: number) => number;

const rotary: Kernel<TransformerAttributes["RotaryEmbedding"]> = (inputs, { interleaved, num_heads }) => {
  const x = operand(inputs, 0);
  const { dims, start } = headLayout(x, num_heads);
  const [rows, heads, times, size] = dims;
  const half = size / 2;
  const angle = angleReader(inputs, times);
  const result = zeros(x.shape);
  const rotatePair = (base: number, pair: number, { cos, sin }: Angles): void => {
    const first = base + (interleaved ? 2 * pair : pair);
    const second = interleaved ? first + 1 : first + half;
    const [a, b] = [at(x.data, first), at(x.data, second)];
    result.data[first] = a * cos - b * sin;
    result.data[second] = a * sin + b * cos;
  };
  for (let row = 0; row < rows; row++) {
    for (let head = 0; head < heads; head++) {
      for (let t = 0; t < times; t++) {
        for (let pair = 0; pair < half; pair++) rotatePair(start(row, head, t), pair, angle(row, t, pair));
      }
    }
  }
  return [result];
};

export const transformer: {
  readonly [Op in keyof TransformerAttributes]: Kernel<TransformerAttributes[Op]>;
} = {
  SimplifiedLayerNormalization: rmsNorm,
  RotaryEmbedding: rotary,
  TensorScatter: notEvaluated("TensorScatter"),
  Attention: notEvaluated("Attention"),
  GroupQueryAttention: notEvaluated("GroupQueryAttention"),
};
