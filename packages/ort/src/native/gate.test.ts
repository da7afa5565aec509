import { once } from "node:events";
import { Worker } from "node:worker_threads";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createGate, openGate } from "./gate.ts";

const places = (width: number): Int32Array =>
  new Int32Array(new SharedArrayBuffer(width * Int32Array.BYTES_PER_ELEMENT));

test("never more holders than places, and everyone gets in", async () => {
  const property = async (width: number, callers: number): Promise<void> => {
    const shared = places(width);
    const gate = createGate(shared);
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
    expect([...shared]).toEqual(Array.from({ length: width }, () => 0));
  };
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 40 }), property),
  );
});

test("a place freed by another thread is noticed", async () => {
  const shared = places(1);
  const leave = createGate(shared, 7).enterSync();
  const entered = createGate(shared, 8).enter();
  expect([...shared]).toEqual([7]);
  leave();
  (await entered)();
  expect([...shared]).toEqual([0]);
});

test("a waiter leaves the queue when its signal aborts", async () => {
  const shared = places(1);
  const gate = createGate(shared);
  const leave = await gate.enter();
  const stop = new AbortController();
  const waiting = gate.enter(stop.signal);
  stop.abort();
  await expect(waiting).rejects.toThrow(/ORT_RUN_ABORTED/);
  leave();
  (await gate.enter())();
  expect([...shared]).toEqual([0]);
});

/** Enters the gate that this thread has opened, tells so, and never leaves it. */
const HOLDER = `
  (async () => {
    (await import("tsx/esm/api")).register();
    const { openGate } = await import(${JSON.stringify(new URL("./gate.ts", import.meta.url).href)});
    await openGate("killed", 2).enter();
    require("node:worker_threads").parentPort.postMessage("inside");
    setInterval(() => undefined, 1000);
  })();`;

test("L1: a place whose thread was killed is free again, and no other", async () => {
  const gate = openGate("killed", 2);
  const leave = await gate.enter();
  const holder = new Worker(HOLDER, { eval: true, execArgv: ["--conditions=@oarlock/source"] });
  await once(holder, "message");
  const entered = gate.enter();
  await holder.terminate();
  const leaveAfter = await entered;
  const stop = new AbortController();
  const third = gate.enter(stop.signal);
  stop.abort();
  await expect(third).rejects.toThrow(/ORT_RUN_ABORTED/);
  leave();
  leaveAfter();
});
