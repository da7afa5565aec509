/**
 * What a differentiation rule is, and the few moves that most rules share.
 *
 * A rule receives the gradient of the loss with respect to a node's results and gives the gradient with respect to
 * each input, as ordinary nodes of the same graph. It does not know the rest of the graph, nor who wants which gradient.
 */
import {
  type Dim,
  expandLike,
  reduceSum,
  reshape,
  sameShape,
  squeeze,
  type Value,
  zerosLike,
} from "@oarlock/onnx";

/** One node as its rule sees it. */
export interface Step<Attributes> {
  readonly op: string;
  readonly attributes: Attributes;
  readonly outputs: readonly Value[];
  /** The input at `index`; it must be there. */
  input(index: number): Value;
  /** The input at `index`; undefined where it is left out. */
  given(index: number): Value | undefined;
  /** How many inputs the node was given, left-out ones included. */
  readonly inputCount: number;
  /** The gradient of each result, in full shape; undefined where the loss does not depend on that result. */
  gradient(output: number): Value | undefined;
  /** The gradient of the first result in full shape. */
  dy(): Value;
  /**
   * The same, perhaps with sizes of 1 where all elements are equal: for rules whose own operation broadcasts it. Where
   * it is returned as it is, the input must have the result's shape.
   */
  thinDy(): Value;
}

/** Makes the gradient of one input; called only where somebody wants it. A shape that broadcasts to the input's will do. */
export interface Maker {
  (): Value;
  /** The same added to what is there already (full shape), where that is cheaper than a sum: a scatter, a product. */
  readonly onto?: (known: Value) => Value;
}

/** A maker for each input. */
export type Derivation<Attributes> = (step: Step<Attributes>) => readonly Maker[];

export type Rule<Attributes> =
  | { readonly kind: "rule"; readonly derive: Derivation<Attributes> }
  /** The derivative is zero wherever it exists: nothing flows back. */
  | { readonly kind: "flat"; readonly reason: string }
  /** Not meant for training: differentiating it is a mistake to be told. */
  | { readonly kind: "refused"; readonly reason: string };

export function rule<Attributes>(derive: Derivation<Attributes>): Rule<Attributes> {
  return { kind: "rule", derive };
}

/** A maker that adds to what is there already, if anything is. */
export function accumulating(make: (known?: Value) => Value): Maker {
  return Object.assign(() => make(), { onto: make });
}

/** A maker that scatters into a base: zeros, or the gradient that is there already. */
export function scattering(data: () => Value, scatter: (base: Value) => Value): Maker {
  return Object.assign(() => scatter(zerosLike(data())), { onto: scatter });
}

export function flat(reason: string): Rule<unknown> {
  return { kind: "flat", reason };
}

export function refused(reason: string): Rule<unknown> {
  return { kind: "refused", reason };
}

/** Undoes broadcasting: sums `gradient` over the axes along which `like` was repeated. */
export function sumTo(gradient: Value, like: Value): Value {
  const lead = gradient.shape.length - like.shape.length;
  const leading = Array.from({ length: lead }, (_, axis) => axis);
  const repeated = like.shape.flatMap((dim, i) =>
    dim === 1 && gradient.shape[i + lead] !== 1 ? [i + lead] : [],
  );
  if (leading.length === 0 && repeated.length === 0) return gradient;
  if (repeated.length === 0) return reduceSum(gradient, { axes: leading });
  const summed = reduceSum(gradient, { axes: [...leading, ...repeated], keepdims: true });
  return leading.length > 0 ? squeeze(summed, leading) : summed;
}

/** `gradient` repeated to the full shape of `like`. */
export function fullShape(gradient: Value, like: Value): Value {
  return sameShape(gradient.shape, like.shape) ? gradient : expandLike(gradient, like);
}

/** `gradient`, which has as many elements as `like`, in the shape of `like`. */
export function reshapeLike(gradient: Value, like: Value): Value {
  if (sameShape(gradient.shape, like.shape)) return gradient;
  const isKept = (dim: Dim, i: number): boolean => typeof dim === "string" && gradient.shape[i] === dim;
  return reshape(
    gradient,
    like.shape.map((dim, i) => (isKept(dim, i) ? 0 : dim)),
  );
}
