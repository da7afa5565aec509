/** Rules of the operators that move elements: what was gathered is scattered back, and the other way round. */
import {
  add,
  cast,
  concat,
  type Dim,
  equal,
  expandLike,
  gatherElements,
  matMul,
  type MovementAttributes,
  reshape,
  scatterAdd,
  slice,
  split,
  squeeze,
  transpose,
  unsqueeze,
  type Value,
  zerosLike,
} from "@oarlock/onnx";
import { flat, reshapeLike, type Rule, rule, scattering, type Step, sumTo } from "../rule.ts";

const frontOf = (axis: number, value: Value): number => (axis < 0 ? axis + value.shape.length : axis);

const integersOf = (step: Step<unknown>, index: number): number[] => {
  const content = step.input(index).constant;
  return content ? Array.from(content.data, Number) : [];
};

const sizeAlong = (value: Value, axis: number): Dim => value.shape[frontOf(axis, value)] ?? 1;

/** The size of `value` along `axis`, which inference found to be fixed. */
function fixedSize(value: Value, axis: number): number {
  const size = sizeAlong(value, axis);
  return typeof size === "number" ? size : 0;
}

/** `dy` in its place along one axis of `x`, zeros around it. */
function padBack(dy: Value, x: Value, { axis, start }: { axis: number; start: number }): Value {
  const size = fixedSize(x, axis);
  const end = start + fixedSize(dy, axis);
  const zerosBetween = (from: number, to: number): Value[] =>
    to > from ? [zerosLike(slice(x, axis, from, to))] : [];
  const before = zerosBetween(0, start);
  const [first = dy, ...rest] = [...before, dy, ...zerosBetween(end, size)];
  return rest.length === 0 ? first : concat([first, ...rest], axis);
}

/** Each axis that was cut is widened again, the last one first. */
function sliceBack(step: Step<unknown>): Value {
  const [starts, ends, axes] = [integersOf(step, 1), integersOf(step, 2), integersOf(step, 3)];
  const cuts = axes.map((axis, i) => ({ axis, start: starts[i] ?? 0, end: ends[i] ?? 0 }));
  const stages = [step.input(0)];
  for (const { axis, start, end } of cuts.slice(0, -1)) {
    const [whole] = stages;
    if (whole) stages.unshift(slice(whole, axis, start, end));
  }
  return cuts.reduceRight((dy, { axis, start }, i) => {
    const whole = stages[cuts.length - 1 - i] ?? step.input(0);
    const size = fixedSize(whole, axis);
    return padBack(dy, whole, { axis, start: Math.min(Math.max(start < 0 ? start + size : start, 0), size) });
  }, step.dy());
}

/** Rows of `dy` are added to the rows of `base` that they were read from. */
function gatherBack(step: Step<{ readonly axis: number }>, base: Value): Value {
  const [data, indices, dy] = [step.input(0), step.input(1), step.dy()];
  const axis = frontOf(step.attributes.axis, data);
  const flattened = data.shape.map((dim, i) => {
    if (i === axis) return -1;
    return typeof dim === "number" ? dim : 0;
  });
  const updates = indices.shape.length === 1 ? dy : reshape(dy, flattened);
  const [rows] = data.shape;
  if (
    data.graph.without.has("ScatterElements") &&
    data.shape.length === 2 &&
    axis === 0 &&
    typeof rows === "number"
  )
    return add(base, matMul(oneHot(indices, rows), updates));
  const alongAxis = data.shape.map((_, i) => (i === axis ? -1 : 1));
  return scatterAdd(base, expandLike(reshape(indices, alongAxis), updates), updates, axis);
}

/** A row for each place, 1 where an index (int64) is that place. […] → [rows, indices] */
function oneHot(indices: Value, rows: number): Value {
  const places = indices.graph.integers(Array.from({ length: rows }, (_, row) => row));
  return cast(equal(reshape(places, [-1, 1]), reshape(cast(indices, "int64"), [1, -1])), "float32");
}

export const movement: { readonly [Op in keyof MovementAttributes]: Rule<MovementAttributes[Op]> } = {
  Reshape: rule((step) => [() => reshapeLike(step.dy(), step.input(0))]),
  Transpose: rule((step) => [
    () => {
      const { perm } = step.attributes;
      return transpose(
        step.dy(),
        perm.map((_, axis) => perm.indexOf(axis)),
      );
    },
  ]),
  Concat: rule((step) => {
    const { axis } = step.attributes;
    let pieces: readonly Value[] | undefined;
    const parts = Array.from({ length: step.inputCount }, (_, i) => () => step.input(i));
    return parts.map((_, i) => () => {
      pieces ??= split(
        step.dy(),
        parts.map((part) => sizeAlong(part(), axis)),
        axis,
      );
      return pieces[i] ?? step.dy();
    });
  }),
  Slice: rule((step) => [() => sliceBack(step)]),
  Split: rule((step) => [
    () => {
      const [first, ...rest] = step.outputs.map((output, i) => step.gradient(i) ?? zerosLike(output));
      return first ? concat([first, ...rest], step.attributes.axis) : step.dy();
    },
  ]),
  Gather: rule((step) => [
    scattering(
      () => step.input(0),
      (base) => gatherBack(step, base),
    ),
  ]),
  GatherElements: rule((step) => [
    scattering(
      () => step.input(0),
      (base) => scatterAdd(base, step.input(1), step.dy(), step.attributes.axis),
    ),
  ]),
  ScatterElements: rule((step) => {
    const { axis, reduction } = step.attributes;
    const data = (): Value => {
      if (reduction === "add") return step.dy();
      const { graph } = step.input(0);
      return graph.one(
        "ScatterElements",
        [step.dy(), step.input(1), zerosLike(step.input(2))],
        step.attributes,
      );
    };
    return [data, step.dy.bind(step), () => gatherElements(step.dy(), step.input(1), axis)];
  }),
  Expand: rule((step) => [() => sumTo(step.dy(), step.input(0))]),
  Unsqueeze: rule((step) => [() => squeeze(step.dy(), integersOf(step, 1))]),
  Squeeze: rule((step) => [
    () => {
      const rank = step.input(0).shape.length;
      return unsqueeze(
        step.dy(),
        integersOf(step, 1).map((axis) => (axis < 0 ? axis + rank : axis)),
      );
    },
  ]),
  Shape: flat("a shape does not depend on the elements"),
  ConstantOfShape: flat("zeros depend on nothing"),
  Trilu: rule((step) => [() => step.input(0).graph.one("Trilu", [step.dy()], step.attributes)]),
};
