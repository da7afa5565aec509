/**
 * Shapes with fixed and named dimensions. A named dimension ("rows", "tokens") is unknown until a run; two of one
 * name are equal. Nothing here knows of operators.
 */

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
 * ("rows*tokens"), so that equal products stay equal.
 */
export function product(dims: Shape): Dim {
  let fixed = 1;
  const named: string[] = [];
  for (const dim of dims) {
    if (typeof dim === "number") fixed *= dim;
    else named.push(...dim.split("*"));
  }
  if (named.length === 0 || fixed === 0) return fixed;
  const factors = named.filter((name) => !/^\d+$/.test(name));
  const scale = named
    .filter((name) => /^\d+$/.test(name))
    .reduce((total, text) => total * Number(text), fixed);
  if (scale !== 1) factors.unshift(String(scale));
  return factors.join("*");
}
