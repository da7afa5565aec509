/** Puts weights into shared memory, so that all workers read one copy. In slices, so that the event loop stays alive (P1). */
import { setImmediate as nextTurn } from "node:timers/promises";
import { sharedMemory } from "@oarlock/runtime";

/** 16 MiB: a few milliseconds of copying between two turns of the event loop. */
const SLICE_FLOATS = 4 * 1024 * 1024;

/** `weights` itself where it is shared already. */
export async function shareWeights(weights: Float32Array, signal?: AbortSignal): Promise<Float32Array> {
  signal?.throwIfAborted();
  if (weights.buffer instanceof SharedArrayBuffer) return weights;
  const shared = new Float32Array(sharedMemory(weights.byteLength));
  for (let start = 0; start < weights.length; start += SLICE_FLOATS) {
    shared.set(weights.subarray(start, start + SLICE_FLOATS), start);
    if (start + SLICE_FLOATS >= weights.length) break;
    await nextTurn();
    signal?.throwIfAborted();
  }
  return shared;
}
