/**
 * Which data rows belong to which step: a permutation per epoch, keyed by counters (D1, D2), so the cursor of a resumed
 * run follows from its step alone (T3). Pure.
 */
import { mixedOrder, shuffledOrder } from "@oarlock/rl";

export interface OrderOptions {
  readonly seed: number;
  readonly stage: number;
  /** Rows of the data set. */
  readonly count: number;
  /** Rows of one step. */
  readonly perStep: number;
  /** Whether they are mixed into the stage's own. Default false. */
  readonly mixed?: boolean;
}

/** Row indices of every step. The last epoch's permutation is kept, since steps ask for it in turn. */
export interface DataOrder {
  /** Indices of the rows of `step`, in order; epochs follow each other without a gap. */
  rowsOf(step: number): number[];
  /** The epoch in which `step` begins, as a fraction: 1.5 is half-way through the second. */
  epochOf(step: number): number;
}

/** The order of one stage. */
export function dataOrder(options: OrderOptions): DataOrder {
  const { seed, stage, count, perStep, mixed = false } = options;
  const orderOf = mixed ? mixedOrder : shuffledOrder;
  let known: { readonly epoch: number; readonly order: Int32Array } | undefined;
  const at = (cursor: number): number => {
    const epoch = Math.floor(cursor / count);
    if (known?.epoch !== epoch) known = { epoch, order: orderOf({ seed, stage, epoch, count }) };
    return known.order[cursor % count] ?? 0;
  };
  return {
    rowsOf: (step) => Array.from({ length: perStep }, (_, i) => at(step * perStep + i)),
    epochOf: (step) => (step * perStep) / count,
  };
}
