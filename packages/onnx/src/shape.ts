/**
 * Shapes with fixed and named dimensions. A named dimension ("rows", "tokens") is unknown until a run; two of one
 * name are equal. Nothing here knows of operators.
 */
import { OarlockError } from "@oarlock/errors";

/** A size, or the name of one that is known when the graph runs. */
export type Dim = number | string;
/** Dimensions, outermost first; empty for a scalar. */
export type Shape = readonly Dim[];

/** `[B, 4]`, for messages. */
export function showShape(shape: Shape): string {
  return `[${shape.join(", ")}]`;
}

/** Whether both have the same sizes and names, in order. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((dim, i) => dim === b[i]);
}

/** The shape of `a` and `b` combined element by element (NumPy rules), or undefined where they do not fit. */
export function broadcast(a: Shape, b: Shape): Shape | undefined {
  const rank = Math.max(a.length, b.length);
  const result: Dim[] = [];
  for (let i = 0; i < rank; i++) {
    const left = a[i - rank + a.length] ?? 1;
    const right = b[i - rank + b.length] ?? 1;
    if (left !== right && left !== 1 && right !== 1) return undefined;
    result.push(left === 1 ? right : left);
  }
  return result;
}

/** `axis` counted from the front, or undefined where it lies outside of `rank` dimensions. */
export function frontAxis(axis: number, rank: number): number | undefined {
  const front = axis < 0 ? axis + rank : axis;
  return Number.isInteger(front) && front >= 0 && front < rank ? front : undefined;
}

/**
 * The product of dimensions as one dimension. Fixed ones multiply; with named ones the product gets a name of its own
 * ("rows*tokens"), so that products of the same names in the same order stay equal.
 */
export function product(dims: Shape): Dim {
  let scale = 1;
  const named: string[] = [];
  for (const factor of dims.flatMap(factorsOf)) {
    if (typeof factor === "number") scale *= factor;
    else named.push(factor);
  }
  if (named.length === 0 || scale === 0) return scale;
  return (scale === 1 ? named : [scale, ...named]).join("*");
}

/** The sum of dimensions as one dimension, "(prefix+rows*tokens)" where some have names: as `product`. Sums of sums are flat. */
export function sum(dims: Shape): Dim {
  const terms = dims.flatMap(termsOf);
  const fixed = terms.reduce<number>((total, term) => (typeof term === "number" ? total + term : total), 0);
  const named = terms.filter((term) => typeof term === "string");
  const parts = fixed === 0 && named.length > 0 ? named : [...named, fixed];
  return parts.length === 1 ? (parts[0] ?? fixed) : `(${parts.join("+")})`;
}

/** The parts of `text` between `sign`s outside of brackets; numbers as such. */
function partsOf(text: string, sign: "*" | "+"): readonly Dim[] {
  const parts = [""];
  let depth = 0;
  for (const char of text) {
    if (char === "(") depth++;
    if (char === ")") depth--;
    if (char === sign && depth === 0) parts.push("");
    else parts.push(`${parts.pop()}${char}`);
  }
  return parts.map((part) => (/^\d+$/.test(part) ? Number(part) : part));
}

/** What `sum` added up: products and names, and numbers as such. */
function termsOf(dim: Dim): readonly Dim[] {
  if (typeof dim === "number" || factorsOf(dim).length > 1 || !dim.startsWith("(")) return [dim];
  return partsOf(dim.slice(1, -1), "+");
}

/** What `product` made of: names and sums, and numbers as such. */
export function factorsOf(dim: Dim): readonly Dim[] {
  return typeof dim === "number" ? [dim] : partsOf(dim, "*");
}

/** The numbers that stand for these dimensions where the names have these sizes. Throws `ONNX_SIZE` for a name without one. */
export function sizesOf(shape: Shape, named: Readonly<Record<string, number>>): number[] {
  const sizeOf = (dim: Dim): number => {
    if (typeof dim === "number") return dim;
    const [terms, factors] = [termsOf(dim), factorsOf(dim)];
    if (terms.length > 1) return terms.reduce<number>((total, term) => total + sizeOf(term), 0);
    if (factors.length > 1) return factors.reduce<number>((total, factor) => total * sizeOf(factor), 1);
    if (Object.hasOwn(named, dim)) return named[dim] ?? 0;
    throw new OarlockError("ONNX_SIZE", `${dim} of ${showShape(shape)} has no size`);
  };
  return shape.map(sizeOf);
}
