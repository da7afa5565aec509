/** Matchers for arrays of numbers. Importing the package's index registers them with vitest. */
import { expect } from "vitest";

/** As in numpy: |actual − expected| ≤ absolute + relative × |expected|, for every element. */
export interface Tolerance {
  /** Default 1e-8. */
  readonly absolute?: number;
  /** Default 1e-5. */
  readonly relative?: number;
}

/** What `toBeAllclose` says of two arrays. */
export interface Comparison {
  readonly pass: boolean;
  readonly message: string;
}

declare module "vitest" {
  interface Matchers<T> {
    /** Element by element within `absolute + relative × |expected|`; NaN equals NaN, infinities equal themselves. */
    toBeAllclose(expected: ArrayLike<number>, tolerance?: Tolerance): T;
  }
}

/** Compares two arrays of numbers and says where they differ most. */
export function compareArrays(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: Tolerance = {},
): Comparison {
  if (actual.length !== expected.length) {
    return { pass: false, message: `has ${actual.length} elements instead of ${expected.length}` };
  }
  const { absolute = 1e-8, relative = 1e-5 } = tolerance;
  const excessAt = (i: number): number => {
    const [got, want] = [actual[i] ?? Number.NaN, expected[i] ?? Number.NaN];
    if (Object.is(got, want) || got === want) return Number.NEGATIVE_INFINITY;
    const excess = Math.abs(got - want) - (absolute + relative * Math.abs(want));
    return Number.isNaN(excess) ? Number.POSITIVE_INFINITY : excess; // NaN on one side alone
  };
  const excesses = Array.from({ length: expected.length }, (_, i) => excessAt(i));
  const outside = excesses.filter((excess) => excess > 0).length;
  if (outside === 0) return { pass: true, message: "is close everywhere" };
  const index = excesses.reduce((worst, excess, i) => (excess > (excesses[worst] ?? 0) ? i : worst), 0);
  return {
    pass: false,
    message: `${outside} of ${expected.length} elements differ, worst at ${index}: ${actual[index]} instead of ${expected[index]}`,
  };
}

const isNumberArray = (value: unknown): value is ArrayLike<number> =>
  Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));

expect.extend({
  toBeAllclose(actual: unknown, expected: ArrayLike<number>, tolerance?: Tolerance) {
    if (!isNumberArray(actual)) return { pass: false, message: () => "expected an array of numbers" };
    const { pass, message } = compareArrays(actual, expected, tolerance);
    return { pass, message: () => `the array ${message}` };
  },
});
