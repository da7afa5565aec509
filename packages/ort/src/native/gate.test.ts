import fc from "fast-check";
import { expect, test } from "vitest";
import { createGate } from "./gate.ts";

function word(places: number): Int32Array {
  const free = new Int32Array(new SharedArrayBuffer(4));
  free[0] = places;
  return free;
}

test("never more holders than places, and everyone gets in", async () => {
  const property = async (width: number, callers: number): Promise<void> => {
    const free = word(width);
    const gate = createGate(free, width);
    let inside = 0;
    let most = 0;
    const call = async (): Promise<void> => {
      const leave = await gate.enter();
      most = Math.max(most, ++inside);
      await Promise.resolve();
      inside -= 1;
      leave();
      leave(); // a second call gives nothing back
    };
    await Promise.all(Array.from({ length: callers }, call));
    expect(most).toBeLessThanOrEqual(width);
    expect(free[0]).toBe(width);
  };
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 40 }), property),
  );
});

test("a place freed by another thread is noticed", async () => {
  const free = word(0); // all places are held elsewhere
  const entered = createGate(free, 1).enter();
  Atomics.add(free, 0, 1);
  (await entered)();
  expect(free[0]).toBe(1);
});

test("a waiter leaves the queue when its signal aborts", async () => {
  const free = word(1);
  const gate = createGate(free, 1);
  const leave = await gate.enter();
  const stop = new AbortController();
  const waiting = gate.enter(stop.signal);
  stop.abort();
  await expect(waiting).rejects.toThrow(/ORT_RUN_ABORTED/);
  leave();
  (await gate.enter())();
  expect(free[0]).toBe(1);
});
