/** L1 and Q1 of clocks, waits, retries, permits and queues, on a clock that is moved by hand. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OarlockError } from "@oarlock/errors";
import { backoffMs, retry } from "./backoff.ts";
import { BoundedQueue } from "./bounded-queue.ts";
import { createManualClock, sleep, systemClock } from "./clock.ts";
import { waitFor, WaitRegistry } from "./deadline.ts";
import { Semaphore } from "./semaphore.ts";
import { createWakeup } from "./wakeup.ts";

const never = new Promise<never>(() => undefined);

describe("clocks", () => {
  it("fire timers in order of time, each once, and not when cancelled", async () => {
    const clock = createManualClock(1_000);
    const fired: string[] = [];
    clock.after(30, () => fired.push(`late at ${clock.monotonicMs()}`));
    clock.after(10, () => {
      fired.push(`early at ${clock.monotonicMs()}`);
      clock.after(10, () => fired.push(`nested at ${clock.monotonicMs()}`));
    });
    clock.after(20, () => fired.push("cancelled")).cancel();
    await clock.advance(25);
    expect(fired).toEqual(["early at 10", "nested at 20"]);
    await clock.advance(5);
    expect(fired.at(-1)).toBe("late at 30");
    clock.jump(-5_000);
    expect([clock.nowMs(), clock.monotonicMs(), clock.pendingTimers]).toEqual([-3_970, 30, 0]);
  });

  it("sleep in real time, wake on abort, and take delays beyond setTimeout's range", async () => {
    const sinceMs = systemClock.monotonicMs();
    await sleep(20);
    expect(systemClock.monotonicMs() - sinceMs).toBeGreaterThan(15);
    const why = new OarlockError("STOPPED", "enough");
    await expect(sleep(2 ** 40, { signal: AbortSignal.abort(why) })).rejects.toBe(why);
    const stop = new AbortController();
    const sleeping = sleep(2 ** 40, { signal: stop.signal });
    setTimeout(() => stop.abort(why), 10);
    await expect(sleeping).rejects.toBe(why);
  });
});

describe("a wakeup", () => {
  it("wakes all who wait, at a change or when their signal aborts, and nobody twice", async () => {
    const { wake, changed } = createWakeup();
    const woken: string[] = [];
    const stop = new AbortController();
    const waits = ["first", "second"].map(async (name) => {
      await changed(stop.signal);
      woken.push(name);
    });
    wake();
    await Promise.all(waits);
    const third = changed(stop.signal).then(() => woken.push("third"));
    const fourth = changed().then(() => woken.push("fourth"));
    stop.abort();
    await third;
    expect(woken).toEqual(["first", "second", "third"]);
    await changed(stop.signal); // aborted already: nothing will come
    wake();
    await fourth;
    expect(woken).toEqual(["first", "second", "third", "fourth"]);
  });
});

describe("waitFor", () => {
  it("L1: names the wait when the deadline passes, and tells the work to stop", async () => {
    const clock = createManualClock();
    const registry = new WaitRegistry(clock);
    let stopped: unknown;
    const waiting = waitFor(
      "scores of group 3/17 from reward workers",
      (signal) => {
        signal.addEventListener("abort", () => (stopped = signal.reason));
        return never;
      },
      { timeoutMs: 500, clock, registry },
    );
    const outcome = expect(waiting).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED", retryable: true });
    await clock.advance(200);
    expect(registry.open()).toEqual([
      { name: "scores of group 3/17 from reward workers", ageMs: 200, remainingMs: 300 },
    ]);
    await clock.advance(300);
    await outcome;
    expect(stopped).toMatchObject({
      message: expect.stringContaining("waited 500 ms for scores of group 3/17"),
    });
    expect([registry.open(), clock.pendingTimers]).toEqual([[], 0]);
  });

  it("gives results and errors as they are, leaves nothing behind, and follows the caller's signal", async () => {
    const clock = createManualClock();
    const registry = new WaitRegistry(clock);
    const options = { timeoutMs: 10, clock, registry };
    expect(await waitFor("a", Promise.resolve(1), options)).toBe(1);
    await expect(waitFor("b", Promise.reject(new OarlockError("X", "y")), options)).rejects.toMatchObject({
      code: "X",
    });
    const stop = new AbortController();
    const waiting = waitFor("c", never, { ...options, signal: stop.signal });
    stop.abort();
    await expect(waiting).rejects.toMatchObject({ name: "AbortError" });
    await expect(waitFor("d", never, { ...options, signal: stop.signal })).rejects.toMatchObject({
      name: "AbortError",
    });
    expect([registry.open(), clock.pendingTimers]).toEqual([[], 0]);
  });
});

describe("retry", () => {
  const flaky = (failures: number, retryable = true) => {
    let calls = 0;
    return async () => {
      if (calls++ < failures) throw new OarlockError("FLAKY", `failure ${calls}`, { retryable });
      return calls;
    };
  };

  it("grows its pauses to a bound, with a jitter that only shortens them", () => {
    fc.assert(
      fc.property(fc.nat(200), fc.double({ min: 0, max: 0.999, noNaN: true }), (attempt, random) => {
        const pauseMs = backoffMs(attempt, { baseMs: 10, maxMs: 1_000, jitter: 0.5, random: () => random });
        const fullMs = Math.min(1_000, 10 * 2 ** attempt);
        expect(pauseMs).toBeLessThanOrEqual(fullMs);
        expect(pauseMs).toBeGreaterThanOrEqual(fullMs / 2);
      }),
    );
  });

  it("goes on while failures say so, and stops at once when they do not", async () => {
    const options = { timeoutMs: 1_000, baseMs: 1 };
    expect(await retry("work", flaky(3), options)).toBe(4);
    await expect(retry("work", flaky(1, false), options)).rejects.toMatchObject({ code: "FLAKY" });
  });

  it("L1: gives up within its time, naming the work and its last failure", async () => {
    const clock = createManualClock();
    const giveUp = retry("publish policy 4", flaky(Infinity), { timeoutMs: 1_000, clock, jitter: 0 });
    const outcome = expect(giveUp).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
      message: expect.stringContaining("publish policy 4: gave up after 5 attempts"),
      cause: { code: "FLAKY" },
    });
    await clock.advance(1_000);
    await outcome;
  });
});

describe("retry of an attempt that hangs", () => {
  it("L1: gives up within its time, and tells the attempt", async () => {
    const clock = createManualClock();
    let told: unknown;
    const attempt = (_: number, signal: AbortSignal): Promise<never> => {
      signal.addEventListener("abort", () => (told = signal.reason));
      return never;
    };
    const outcome = expect(retry("store", attempt, { timeoutMs: 500, clock })).rejects.toThrow(
      /store: gave up after 1 attempts/,
    );
    await clock.advance(500);
    await outcome;
    expect(told).toMatchObject({ code: "DEADLINE_EXCEEDED" });
  });
});

describe("semaphore", () => {
  it("never lets more in than it has permits, and all in the end", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.array(fc.nat(3), { maxLength: 20 }),
        async (capacity, holds) => {
          const semaphore = new Semaphore("slots", capacity);
          let inside = 0;
          let most = 0;
          const work = holds.map((turns) =>
            semaphore.run({ timeoutMs: 5_000 }, async () => {
              most = Math.max(most, ++inside);
              for (let turn = 0; turn < turns; turn++) await Promise.resolve();
              inside--;
            }),
          );
          await Promise.all(work);
          expect(most).toBeLessThanOrEqual(capacity);
          expect([inside, semaphore.held]).toEqual([0, 0]);
        },
      ),
    );
  });

  it("L1: loses no permit to a wait that gave up", async () => {
    const clock = createManualClock();
    const semaphore = new Semaphore("slots", 1);
    const release = await semaphore.acquire({ timeoutMs: 10, clock });
    const late = expect(semaphore.acquire({ timeoutMs: 10, clock })).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
    });
    await clock.advance(10);
    await late;
    release();
    release();
    expect(semaphore.held).toBe(0);
    (await semaphore.acquire({ timeoutMs: 10, clock }))();
    expect(() => new Semaphore("none", 0)).toThrow(/SEMAPHORE_CAPACITY/);
  });
});

describe("bounded queue", () => {
  it("Q1: keeps order, loses nothing, and never holds more than its capacity", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.array(fc.nat(), { maxLength: 30 }),
        async (capacity, items) => {
          const queue = new BoundedQueue<number>("items", capacity);
          const seen: number[] = [];
          const reading = (async () => {
            for await (const item of queue) {
              expect(queue.size).toBeLessThanOrEqual(capacity);
              seen.push(item);
              await Promise.resolve();
            }
          })();
          for (const item of items) await queue.push(item, { timeoutMs: 5_000 });
          queue.close();
          await reading;
          expect(seen).toEqual(items);
        },
      ),
    );
  });

  it("says when it is full, waits for room within a deadline, and lets takers give up", async () => {
    const clock = createManualClock();
    const queue = new BoundedQueue<string>("scored groups", 1);
    expect([queue.tryPush("a"), queue.tryPush("b")]).toEqual([true, false]);
    const late = expect(queue.push("c", { timeoutMs: 50, clock })).rejects.toThrow(
      /room in scored groups \(capacity 1\)/,
    );
    await clock.advance(50);
    await late;
    const waiting = queue.push("d", { timeoutMs: 50, clock });
    expect(await queue.take()).toBe("a");
    await waiting;
    expect(await queue.take()).toBe("d");
    const stop = new AbortController();
    const taking = queue.take(stop.signal);
    stop.abort();
    await expect(taking).rejects.toMatchObject({ name: "AbortError" });
    queue.tryPush("e"); // not given to the one that left
    expect(await queue.take()).toBe("e");
    const last = queue.take();
    queue.close();
    expect([await last, await queue.take()]).toEqual([undefined, undefined]);
    expect(() => queue.tryPush("f")).toThrow(/QUEUE_CLOSED/);
  });
});
