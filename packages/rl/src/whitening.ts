/**
 * Whitening over all tokens of a batch, verl's convention (algorithms.md §5): (x − mean) / √(var + 1e-8), with the sample
 * variance (divides by n − 1). Fewer than two numbers have no spread and stay as they are.
 */
const VARIANCE_EPSILON = 1e-8;

export interface WhiteningOptions {
  /** Whether the mean is taken away; rewards keep theirs, or the sign of a reward would be lost. Default true. */
  readonly center?: boolean;
}

/** The numbers scaled to variance 1, and to mean 0 where they are centred. */
export function whiten(values: ArrayLike<number>, { center = true }: WhiteningOptions = {}): Float64Array {
  const count = values.length;
  const result = Float64Array.from(values);
  if (count < 2) return result;
  const mean = result.reduce((total, value) => total + value, 0) / count;
  const variance = result.reduce((total, value) => total + (value - mean) ** 2, 0) / (count - 1);
  const scale = 1 / Math.sqrt(variance + VARIANCE_EPSILON);
  const shift = center ? 0 : mean;
  return result.map((value) => (value - mean) * scale + shift);
}
