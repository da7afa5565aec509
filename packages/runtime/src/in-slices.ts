/**
 * Many small pieces of work on the event loop's own thread, which answers in between (P1), however many callers there are. It does
 * not know what they are.
 */
import { setImmediate as immediate } from "node:timers/promises";

const SLICE_MS = 5;

/** Of all callers together: slices of their own, one after the other in the same turn of the loop, would add up. */
let sliceEndsMs = 0;
let lastSlice: Promise<void> = Promise.resolve();

/** Applies `convert` to every item in order, in slices of 5 ms; items for which it gives undefined are left out. */
export async function inSlices<In, Out>(
  items: readonly In[],
  convert: (item: In, index: number) => Out | undefined,
): Promise<Out[]> {
  const converted: Out[] = [];
  for (const [index, item] of items.entries()) {
    if (performance.now() >= sliceEndsMs) await nextSlice();
    const value = convert(item, index);
    if (value !== undefined) converted.push(value);
  }
  return converted;
}

/** One a turn of the loop. */
function nextSlice(): Promise<void> {
  lastSlice = lastSlice.then(async () => {
    await immediate();
    sliceEndsMs = performance.now() + SLICE_MS;
  });
  return lastSlice;
}
