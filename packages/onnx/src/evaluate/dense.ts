/**
 * The reference evaluator's one kind of array: float64, whatever the graph's element type. Integers are exact up to
 * 2^53, truth values are 0 and 1. Index arithmetic only; nothing here knows of operators.
 */
import { elementCount } from "@oarlock/tensor";
import { OarlockError } from "@oarlock/errors";

/** A tensor of the float64 reference evaluator. */
export interface Dense {
  readonly shape: readonly number[];
  /** Row-major, `elementCount(shape)` elements. */
  readonly data: Float64Array;
}

export function zeros(shape: readonly number[]): Dense {
  return { shape, data: new Float64Array(elementCount(shape)) };
}

/** The element at a flat index that is known to lie inside. */
export function at(data: Float64Array, index: number): number {
  const value = data[index];
  if (value === undefined)
    throw new OarlockError("ONNX_EVALUATE", `index ${index} lies outside of ${data.length} elements`);
  return value;
}

/** The size of one dimension; `axis` may count from the end. */
export function sizeOf(shape: readonly number[], axis: number): number {
  const size = shape.at(axis);
  if (size === undefined) throw new OarlockError("ONNX_EVALUATE", `no axis ${axis} in [${shape.join(", ")}]`);
  return size;
}

/** Row-major strides, in elements. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = shape.map(() => 1);
  for (let axis = shape.length - 2; axis >= 0; axis--)
    strides[axis] = (strides[axis + 1] ?? 1) * (shape[axis + 1] ?? 1);
  return strides;
}

/** The NumPy broadcast of concrete shapes. */
export function broadcastShape(shapes: readonly (readonly number[])[]): number[] {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, axis) => {
    const sizes = shapes.map((shape) => shape[axis - rank + shape.length] ?? 1).filter((size) => size !== 1);
    const [size = 1] = sizes;
    if (sizes.some((other) => other !== size)) {
      throw new OarlockError(
        "ONNX_EVALUATE",
        `${shapes.map((s) => `[${s.join(", ")}]`).join(" and ")} do not broadcast`,
      );
    }
    return size;
  });
}

/** A view of `dense` as `shape`, copied: dimensions of size 1 repeat. */
export function expandTo(dense: Dense, shape: readonly number[]): Dense {
  if (dense.shape.length === shape.length && dense.shape.every((size, axis) => size === shape[axis]))
    return dense;
  const missing = shape.length - dense.shape.length;
  const own = stridesOf(dense.shape);
  const strides = shape.map((_, axis) =>
    (dense.shape[axis - missing] ?? 1) === 1 ? 0 : (own[axis - missing] ?? 0),
  );
  return gatherStrided(dense, shape, { strides, offset: 0 });
}

export interface Strided {
  /** Source elements per step of each result axis; may be 0 or negative. */
  readonly strides: readonly number[];
  /** Source index of the first result element. */
  readonly offset: number;
}

/** Reads `shape` elements of `dense` at offset + Σ index · stride: transposes, slices and broadcasts are all this. */
export function gatherStrided(dense: Dense, shape: readonly number[], { strides, offset }: Strided): Dense {
  const result = zeros(shape);
  const index = shape.map(() => 0);
  let source = offset;
  for (let flat = 0; flat < result.data.length; flat++) {
    result.data[flat] = at(dense.data, source);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const next = (index[axis] ?? 0) + 1;
      source += strides[axis] ?? 0;
      if (next < (shape[axis] ?? 1)) {
        index[axis] = next;
        break;
      }
      source -= next * (strides[axis] ?? 0);
      index[axis] = 0;
    }
  }
  return result;
}

export interface Lines {
  /** Product of the sizes before the axis. */
  readonly outer: number;
  /** The axis's own size. */
  readonly size: number;
  /** Product of the sizes behind it; also the distance between neighbours along the axis. */
  readonly inner: number;
}

/** Splits a shape around one axis (front-counted or negative). */
export function linesAlong(shape: readonly number[], axis: number): Lines {
  const front = axis < 0 ? axis + shape.length : axis;
  return {
    outer: elementCount(shape.slice(0, front)),
    size: sizeOf(shape, front),
    inner: elementCount(shape.slice(front + 1)),
  };
}

/** Calls `visit` with the first flat index and the stride of every line along `axis`. */
export function forEachLine(
  shape: readonly number[],
  axis: number,
  visit: (start: number, lines: Lines) => void,
): void {
  const lines = linesAlong(shape, axis);
  for (let outer = 0; outer < lines.outer; outer++) {
    for (let inner = 0; inner < lines.inner; inner++) visit(outer * lines.size * lines.inner + inner, lines);
  }
}
