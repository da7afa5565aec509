/** One line of the benchmark table. It knows nothing of how the value was measured. */

export interface BenchRow {
  /** Dotted name, stable across versions, e.g. `train.matmul_ratio.5M`. */
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** What `ratio` divides by, in words. */
  readonly relative_to?: string;
  /** Ours over the yardstick, measured in the same process or the same sitting. */
  readonly ratio?: number;
}

/** A row that could not be measured here, and why: printed, never guessed. */
export interface SkippedRow {
  readonly name: string;
  readonly skipped: string;
}

/** Median of at least one number. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
