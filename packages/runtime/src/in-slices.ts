/** Many small pieces of work on the event loop's own thread, which answers in between (P1). It does not know what they are. */
import { setImmediate as immediate } from "node:timers/promises";

const SLICE_MS = 5;

/** Applies `convert` to every item in order, in slices of 5 ms; items for which it gives undefined are left out. */
export async function inSlices<In, Out>(
  items: readonly In[],
  convert: (item: In, index: number) => Out | undefined,
): Promise<Out[]> {
  const converted: Out[] = [];
  let sliceMs = performance.now();
  for (const [index, item] of items.entries()) {
    const value = convert(item, index);
    if (value !== undefined) converted.push(value);
    if (performance.now() - sliceMs < SLICE_MS) continue;
    await immediate();
    sliceMs = performance.now();
  }
  return converted;
}
