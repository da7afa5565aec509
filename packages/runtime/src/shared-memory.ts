/**
 * Shared memory of a size that counts. V8 counts the bytes of an ArrayBuffer and collects garbage when they grow, but a
 * SharedArrayBuffer counts as nothing: of weights of half a gigabyte, dozens of dead ones would wait for a collection that a
 * small heap never asks for. So the bytes are counted here, by thread.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Bytes that may be dead before they are looked for: a collection of a small heap takes some tens of milliseconds. */
export const UNCOLLECTED_BYTES: number = 256 * 1024 * 1024;

let sinceCollection = 0;
let collect: (() => void) | undefined;

/** Zeroed shared memory. Collects this thread's garbage first where much came by since the last time. */
export function sharedMemory(byteLength: number): SharedArrayBuffer {
  countShared(byteLength);
  return new SharedArrayBuffer(byteLength);
}

/**
 * Counts shared memory that came from another thread: it is given back when the last thread that saw it has collected. Of
 * earlier memory, that is; call it when a message with weights comes in.
 */
export function countShared(byteLength: number): void {
  if (sinceCollection + byteLength > UNCOLLECTED_BYTES && sinceCollection > 0) {
    collectGarbage();
    sinceCollection = 0;
  }
  sinceCollection += byteLength;
}

function collectGarbage(): void {
  // V8's own function, which a new context has while the flag is set.
  setFlagsFromString("--expose-gc");
  collect ??= runInNewContext("gc") as () => void;
  collect();
}
