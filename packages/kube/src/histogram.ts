/** A distribution as Prometheus keeps it: how many values were at most each bound, their sum and their number. */

export interface HistogramView {
  /** Upper bounds, rising, each with the number of values up to it. */
  readonly buckets: readonly (readonly [bound: number, count: number])[];
  readonly sum: number;
  readonly count: number;
}

export class Histogram implements HistogramView {
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  sum = 0;
  count = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = bounds.map(() => 0);
  }

  get buckets(): HistogramView["buckets"] {
    return this.#bounds.map((bound, at) => [bound, this.#counts[at] ?? 0] as const);
  }

  observe(value: number): void {
    this.sum += value;
    this.count++;
    for (const [at, bound] of this.#bounds.entries())
      if (value <= bound) this.#counts[at] = (this.#counts[at] ?? 0) + 1;
  }
}
