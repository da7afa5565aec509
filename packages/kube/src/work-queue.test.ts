import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createManualClock } from "@oarlock/runtime";
import { RateLimiter } from "./rate-limiter.ts";
import { WorkQueue } from "./work-queue.ts";

const never = new AbortController().signal;

describe("work queue", () => {
  it("Q1, Q2, Q3: no key twice at a time, none forgotten (property)", async () => {
    const step = fc.record({
      act: fc.constantFrom("add", "take", "done"),
      key: fc.constantFrom("a", "b", "c"),
    });
    const property = fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const queue = new WorkQueue({ clock: createManualClock() });
      const inHand = new Set<string>();
      /** Keys asked for since they were last taken: the model. */
      const wanted = new Set<string>();
      for (const { act, key } of steps) {
        if (act === "add") {
          queue.add(key);
          wanted.add(key);
        } else if (act === "done" && inHand.delete(key)) queue.done(key);
        else if (act === "take" && queue.counts().depth > 0) {
          const taken = await queue.take(never);
          expect(inHand.has(taken)).toBe(false);
          expect(wanted.delete(taken)).toBe(true);
          inHand.add(taken);
        }
      }
      for (const key of inHand) queue.done(key);
      const left = new Set<string>();
      while (queue.counts().depth > 0) left.add(await queue.take(never));
      expect(left).toEqual(wanted);
    });
    await fc.assert(property, { numRuns: 300 });
  });

  it("hands a key to whoever waits, and lets a waiter go", async () => {
    const queue = new WorkQueue({ clock: createManualClock() });
    const leaving = new AbortController();
    const gone = queue.take(leaving.signal);
    const waiting = queue.take(never);
    leaving.abort();
    await expect(gone).rejects.toMatchObject({ name: "AbortError" });
    queue.add("a");
    await expect(waiting).resolves.toBe("a");
  });

  it("adds later, once, at the earlier of two times", async () => {
    const clock = createManualClock();
    const queue = new WorkQueue({ clock });
    queue.addAfter("a", 100);
    queue.addAfter("a", 50);
    queue.addAfter("a", 200);
    await clock.advance(49);
    expect(queue.counts().depth).toBe(0);
    await clock.advance(1);
    expect(queue.counts()).toMatchObject({ depth: 1, adds: 1 });
    await clock.advance(500);
    expect(queue.counts().adds).toBe(1);
  });

  it("pauses a key that fails longer each time, and not after it went well", () => {
    const queue = new WorkQueue({ clock: createManualClock() });
    expect([1, 2, 3].map(() => queue.addFailed("a"))).toEqual([5, 10, 20]);
    queue.forget("a");
    expect(queue.addFailed("a")).toBe(5);
    expect(queue.addFailed("b", 7_000)).toBe(7_000);
    expect(queue.counts().retries).toBe(5);
  });

  it("takes nothing after its close", async () => {
    const clock = createManualClock();
    const queue = new WorkQueue({ clock });
    queue.addAfter("a", 1);
    queue.close();
    queue.add("b");
    await clock.advance(10);
    expect(queue.counts().depth).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe("rate limiter", () => {
  it("bounds all keys together by a token bucket that refills", () => {
    const limiter = new RateLimiter({ burst: 2, perSecond: 10, baseMs: 1 });
    expect([1, 2, 3, 4].map((key) => limiter.pauseMs(String(key), 0))).toEqual([1, 1, 100, 200]);
    expect(limiter.pauseMs("5", 1_000)).toBe(1);
  });

  it("never pauses beyond its bound, and never less than before (property)", () => {
    const property = fc.property(fc.integer({ min: 1, max: 64 }), (times) => {
      const limiter = new RateLimiter({ burst: 1_000, maxMs: 60_000 });
      const pauses = Array.from({ length: times }, () => limiter.pauseMs("a", 0));
      expect(pauses.toSorted((left, right) => left - right)).toEqual(pauses);
      expect(Math.max(...pauses)).toBeLessThanOrEqual(60_000);
    });
    fc.assert(property);
  });
});
