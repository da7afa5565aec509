/** Reference kernels of the operators that move elements. */
import { elementCount } from "@oarlock/tensor";
import type { MovementAttributes } from "../ops/movement.ts";
import {
  at,
  broadcastShape,
  type Dense,
  expandTo,
  gatherStrided,
  linesAlong,
  sizeOf,
  stridesOf,
  zeros,
} from "./dense.ts";
import { integersOf, type Kernel, operand } from "./kernel.ts";

const frontOf = (axis: number, rank: number) => (axis < 0 ? axis + rank : axis);

function targetShape(from: readonly number[], target: readonly number[]): number[] {
  const kept = target.map((size, axis) => (size === 0 ? sizeOf(from, axis) : size));
  const known = elementCount(kept.filter((size) => size !== -1));
  return kept.map((size) => (size === -1 ? elementCount(from) / Math.max(known, 1) : size));
}

const reshape: Kernel<unknown> = (inputs) => {
  const x = operand(inputs, 0);
  return [{ shape: targetShape(x.shape, integersOf(inputs, 1)), data: x.data }];
};

/** `length` elements of one axis, from `start` on. */
function piece(x: Dense, axis: number, start: number, length: number): Dense {
  const front = frontOf(axis, x.shape.length);
  const strides = stridesOf(x.shape);
  const shape = x.shape.map((size, i) => (i === front ? length : size));
  return gatherStrided(x, shape, { strides, offset: start * (strides[front] ?? 0) });
}

function concat(parts: readonly Dense[], axis: number): Dense {
  const [first = zeros([0])] = parts;
  const front = frontOf(axis, first.shape.length);
  const size = parts.reduce((total, part) => total + sizeOf(part.shape, front), 0);
  const result = zeros(first.shape.map((old, i) => (i === front ? size : old)));
  const { outer, inner } = linesAlong(result.shape, front);
  let target = 0;
  for (let row = 0; row < outer; row++) {
    for (const part of parts) {
      const run = sizeOf(part.shape, front) * inner;
      result.data.set(part.data.subarray(row * run, (row + 1) * run), target);
      target += run;
    }
  }
  return result;
}

/** Calls `visit` with each index's flat position in `indices` and the flat position in `data` that it points to. */
function forEachPointed(
  data: Dense,
  indices: Dense,
  axis: number,
  visit: (index: number, pointed: number) => void,
): void {
  const front = frontOf(axis, data.shape.length);
  const own = stridesOf(indices.shape);
  const strides = stridesOf(data.shape);
  indices.data.forEach((given, flat) => {
    const index = given < 0 ? given + sizeOf(data.shape, front) : given;
    const pointed = strides.reduce((sum, stride, i) => {
      const coordinate = i === front ? index : Math.floor(flat / (own[i] ?? 1)) % sizeOf(indices.shape, i);
      return sum + coordinate * stride;
    }, 0);
    visit(flat, pointed);
  });
}

function squeezed(shape: readonly number[], axes: readonly number[]): number[] {
  const dropped = new Set(axes.map((axis) => frontOf(axis, shape.length)));
  return shape.filter((_, i) => !dropped.has(i));
}

function unsqueezed(shape: readonly number[], axes: readonly number[]): number[] {
  const rank = shape.length + axes.length;
  const added = new Set(axes.map((axis) => frontOf(axis, rank)));
  const rest = [...shape];
  return Array.from({ length: rank }, (_, i) => (added.has(i) ? 1 : (rest.shift() ?? 1)));
}

const slice: Kernel<unknown> = (inputs) => {
  const [starts, ends, axes] = [integersOf(inputs, 1), integersOf(inputs, 2), integersOf(inputs, 3)];
  let x = operand(inputs, 0);
  axes.forEach((axis, i) => {
    const size = sizeOf(x.shape, axis);
    const inside = (index: number) => Math.min(Math.max(index < 0 ? index + size : index, 0), size);
    const start = inside(at(Float64Array.from(starts), i));
    x = piece(x, axis, start, Math.max(inside(at(Float64Array.from(ends), i)) - start, 0));
  });
  return [x];
};

const gather: Kernel<{ readonly axis: number }> = (inputs, { axis }) => {
  const [data, indices] = [operand(inputs, 0), operand(inputs, 1)];
  const front = frontOf(axis, data.shape.length);
  const { outer, size, inner } = linesAlong(data.shape, front);
  const result = zeros([...data.shape.slice(0, front), ...indices.shape, ...data.shape.slice(front + 1)]);
  for (let row = 0; row < outer; row++) {
    indices.data.forEach((given, i) => {
      const index = given < 0 ? given + size : given;
      const from = (row * size + index) * inner;
      result.data.set(data.data.subarray(from, from + inner), (row * indices.data.length + i) * inner);
    });
  }
  return [result];
};

export const movement: { readonly [Op in keyof MovementAttributes]: Kernel<MovementAttributes[Op]> } = {
  Reshape: reshape,
  Transpose: (inputs, { perm }) => {
    const x = operand(inputs, 0);
    const strides = stridesOf(x.shape);
    const shape = perm.map((axis) => sizeOf(x.shape, axis));
    return [gatherStrided(x, shape, { strides: perm.map((axis) => strides[axis] ?? 0), offset: 0 })];
  },
  Concat: (inputs, { axis }) => [
    concat(
      inputs.map((_, i) => operand(inputs, i)),
      axis,
    ),
  ],
  Slice: slice,
  Split: (inputs, { axis }) => {
    let start = 0;
    return integersOf(inputs, 1).map((size) => {
      start += size;
      return piece(operand(inputs, 0), axis, start - size, size);
    });
  },
  Gather: gather,
  GatherElements: (inputs, { axis }) => {
    const [data, indices] = [operand(inputs, 0), operand(inputs, 1)];
    const result = zeros(indices.shape);
    forEachPointed(data, indices, axis, (i, pointed) => (result.data[i] = at(data.data, pointed)));
    return [result];
  },
  ScatterElements: (inputs, { axis, reduction }) => {
    const [data, indices, updates] = [operand(inputs, 0), operand(inputs, 1), operand(inputs, 2)];
    const result: Dense = { shape: data.shape, data: data.data.slice() };
    forEachPointed(data, indices, axis, (i, pointed) => {
      result.data[pointed] = at(updates.data, i) + (reduction === "add" ? at(result.data, pointed) : 0);
    });
    return [result];
  },
  Expand: (inputs) => {
    const x = operand(inputs, 0);
    return [expandTo(x, broadcastShape([x.shape, integersOf(inputs, 1)]))];
  },
  Unsqueeze: (inputs) => {
    const x = operand(inputs, 0);
    return [{ shape: unsqueezed(x.shape, integersOf(inputs, 1)), data: x.data }];
  },
  Squeeze: (inputs) => {
    const x = operand(inputs, 0);
    return [{ shape: squeezed(x.shape, integersOf(inputs, 1)), data: x.data }];
  },
  Shape: (inputs) => {
    const { shape } = operand(inputs, 0);
    return [{ shape: [shape.length], data: Float64Array.from(shape) }];
  },
  ConstantOfShape: (inputs) => [zeros(integersOf(inputs, 0))],
  Trilu: (inputs, { upper }) => {
    const x = operand(inputs, 0);
    const [rows, columns] = [sizeOf(x.shape, -2), sizeOf(x.shape, -1)];
    const kept = x.data.map((value, flat) => {
      const [row, column] = [Math.floor(flat / columns) % rows, flat % columns];
      return (upper ? column >= row : column <= row) ? value : 0;
    });
    return [{ shape: x.shape, data: kept }];
  },
};
