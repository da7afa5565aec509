/** Operators that move elements without computing with them: shapes, slices, gathers and scatters. */
import { type Dim, factorsOf, product, sameShape, type Shape, showShape, sum } from "../shape.ts";
import {
  axisOf,
  broadcastAll,
  constantIntegers,
  dimensionsOf,
  expectDType,
  expectSameDType,
  type Inference,
  type NoAttributes,
  type OpDefinition,
  replaceAt,
  required,
} from "./definition.ts";

export interface MovementAttributes {
  /** Inputs: x, target (int64: a constant, or sizes; 0 keeps the dimension, one −1 takes the rest). */
  Reshape: NoAttributes;
  Transpose: { readonly perm: readonly number[] };
  Concat: { readonly axis: number };
  /** Inputs: x, starts, ends, axes (int64 constants; step 1). */
  Slice: NoAttributes;
  /** Inputs: x, sizes (int64: a constant, or sizes of named dimensions). */
  Split: { readonly axis: number };
  Gather: { readonly axis: number };
  GatherElements: { readonly axis: number };
  /** Inputs: data, indices, updates; duplicates add up in order. */
  ScatterElements: { readonly axis: number; readonly reduction: "none" | "add" };
  /** Inputs: x, shape (an int64 vector: a constant, sizes, or the result of Shape). */
  Expand: NoAttributes;
  Unsqueeze: NoAttributes;
  Squeeze: NoAttributes;
  Shape: NoAttributes;
  /** Inputs: shape (as of Expand). Result: zeros. */
  ConstantOfShape: NoAttributes;
  /** Keeps the lower (or upper) triangle of the last two dimensions. */
  Trilu: { readonly upper: 0 | 1 };
}

/** The fixed part of a shape with its named part: what must stay equal when a tensor is reshaped. */
function reshaped(node: Inference<unknown>, from: Shape, target: Shape): Shape {
  const known: Dim[] = target.map((dim, i) =>
    dim === 0 ? (from[i] ?? node.fail(`no dimension ${i} to keep`)) : dim,
  );
  const open = target.indexOf(-1);
  if (open < 0) {
    if (product(known) !== product(from))
      node.fail(`${showShape(from)} does not hold as many elements as ${showShape(known)}`);
    return known;
  }
  const rest = divide(product(from), product(known.filter((_, i) => i !== open)));
  return replaceAt(
    known,
    open,
    rest ?? node.fail(`${showShape(from)} does not divide into [${target.join(", ")}]`),
  );
}

/** whole ÷ part for products of named dimensions, or undefined where it does not come out even. */
function divide(whole: Dim, part: Dim): Dim | undefined {
  const factors = factorsOf(whole);
  let number = factors.reduce<number>((all, factor) => (typeof factor === "number" ? all * factor : all), 1);
  const names = factors.filter((factor) => typeof factor === "string");
  for (const factor of factorsOf(part)) {
    if (typeof factor === "number") {
      if (number % factor !== 0) return undefined;
      number /= factor;
    } else {
      const at = names.indexOf(factor);
      if (at < 0) return undefined;
      names.splice(at, 1);
    }
  }
  return product([number, ...names]);
}

export const movement: { readonly [Op in keyof MovementAttributes]: OpDefinition<MovementAttributes[Op]> } = {
  Reshape: {
    domain: "",
    infer(node) {
      const x = required(node, 0);
      const target = dimensionsOf(node, 1);
      if (target.filter((dim) => dim === -1).length > 1) node.fail("only one dimension may be −1");
      return [{ dtype: x.dtype, shape: reshaped(node, x.shape, target) }];
    },
  },
  Transpose: {
    domain: "",
    infer(node) {
      const x = required(node, 0);
      const { perm } = node.attributes;
      if ([...perm].sort((a, b) => a - b).some((axis, i) => axis !== i) || perm.length !== x.shape.length) {
        node.fail(`[${perm.join(", ")}] is no permutation of ${x.shape.length} axes`);
      }
      return [{ dtype: x.dtype, shape: perm.map((axis) => x.shape[axis] ?? 1) }];
    },
  },
  Concat: {
    domain: "",
    infer(node) {
      const parts = node.inputs.map((_, i) => required(node, i));
      const dtype = expectSameDType(node, parts);
      const first = required(node, 0);
      const axis = axisOf(node, node.attributes.axis, first.shape);
      for (const part of parts) {
        if (!sameShape(replaceAt(part.shape, axis, 0), replaceAt(first.shape, axis, 0))) {
          node.fail(
            `${showShape(part.shape)} does not continue ${showShape(first.shape)} along axis ${axis}`,
          );
        }
      }
      return [
        {
          dtype,
          shape: replaceAt(first.shape, axis, sum(parts.map((part) => part.shape[axis] ?? 0))),
        },
      ];
    },
  },
  Slice: {
    domain: "",
    infer(node) {
      const x = required(node, 0);
      const [starts, ends, axes] = [
        constantIntegers(node, 1),
        constantIntegers(node, 2),
        constantIntegers(node, 3),
      ];
      let { shape } = x;
      axes.forEach((given, i) => {
        const axis = axisOf(node, given, shape);
        const size = shape[axis];
        if (typeof size !== "number")
          return node.fail(`axis ${axis} has the named size ${size}: slice fixed ones only`);
        const clampTo = (at: number): number => Math.min(Math.max(at < 0 ? at + size : at, 0), size);
        shape = replaceAt(shape, axis, Math.max(clampTo(ends[i] ?? 0) - clampTo(starts[i] ?? 0), 0));
      });
      return [{ dtype: x.dtype, shape }];
    },
  },
  Split: {
    domain: "",
    infer(node) {
      const x = required(node, 0);
      const sizes = dimensionsOf(node, 1);
      const axis = axisOf(node, node.attributes.axis, x.shape);
      if (sum(sizes) !== x.shape[axis]) node.fail(`sizes [${sizes.join(", ")}] do not add up`);
      return sizes.map((size) => ({ dtype: x.dtype, shape: replaceAt(x.shape, axis, size) }));
    },
  },
  Gather: {
    domain: "",
    infer(node) {
      const [data, indices] = [required(node, 0), required(node, 1)];
      expectDType(node, indices, "int64", "int32");
      const axis = axisOf(node, node.attributes.axis, data.shape);
      return [
        {
          dtype: data.dtype,
          shape: [...data.shape.slice(0, axis), ...indices.shape, ...data.shape.slice(axis + 1)],
        },
      ];
    },
  },
  GatherElements: {
    domain: "",
    infer(node) {
      const [data, indices] = [required(node, 0), required(node, 1)];
      expectDType(node, indices, "int64", "int32");
      if (data.shape.length !== indices.shape.length) node.fail("data and indices must have equal ranks");
      axisOf(node, node.attributes.axis, data.shape);
      return [{ dtype: data.dtype, shape: indices.shape }];
    },
  },
  ScatterElements: {
    domain: "",
    infer(node) {
      const [data, indices, updates] = [required(node, 0), required(node, 1), required(node, 2)];
      expectDType(node, indices, "int64", "int32");
      expectSameDType(node, [data, updates]);
      if (!sameShape(indices.shape, updates.shape)) node.fail("indices and updates must have one shape");
      axisOf(node, node.attributes.axis, data.shape);
      return [{ dtype: data.dtype, shape: data.shape }];
    },
  },
  Expand: {
    domain: "",
    infer(node) {
      const x = required(node, 0);
      const target = dimensionsOf(node, 1);
      const shape = broadcastAll(node, [x, { ...x, shape: target }]);
      return [{ dtype: x.dtype, shape }];
    },
  },
  Unsqueeze: {
    domain: "",
    infer(node) {
      const x = required(node, 0);
      const axes = constantIntegers(node, 1);
      const rank = x.shape.length + axes.length;
      const at = new Set(axes.map((axis) => (axis < 0 ? axis + rank : axis)));
      const rest = [...x.shape];
      return [
        {
          dtype: x.dtype,
          shape: Array.from({ length: rank }, (_, i) => (at.has(i) ? 1 : (rest.shift() ?? 1))),
        },
      ];
    },
  },
  Squeeze: {
    domain: "",
    infer(node) {
      const x = required(node, 0);
      const axes = constantIntegers(node, 1).map((axis) => axisOf(node, axis, x.shape));
      for (const axis of axes)
        if (x.shape[axis] !== 1) node.fail(`axis ${axis} of ${showShape(x.shape)} is not 1`);
      return [{ dtype: x.dtype, shape: x.shape.filter((_, i) => !axes.includes(i)) }];
    },
  },
  Shape: {
    domain: "",
    infer(node) {
      return [{ dtype: "int64", shape: [required(node, 0).shape.length] }];
    },
  },
  ConstantOfShape: {
    domain: "",
    infer(node) {
      return [{ dtype: "float32", shape: dimensionsOf(node, 0) }];
    },
  },
  Trilu: {
    domain: "",
    infer(node) {
      const x = required(node, 0);
      if (x.shape.length < 2) node.fail("a triangle needs two dimensions");
      return [{ dtype: x.dtype, shape: x.shape }];
    },
  },
};
