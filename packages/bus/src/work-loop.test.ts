/** The worker's loop on the memory bus with a clock that is moved by hand: T2, Q1, L1 and drains. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { OarlockError } from "@oarlock/errors";
import { createLog, createManualClock, type ManualClock } from "@oarlock/runtime";
import { createMemoryBus } from "./memory/bus.ts";
import type { Bus, Consumer, Stream } from "./types.ts";
import { givenUp, WorkLoop, type WorkEvent } from "./work-loop.ts";

const ACK_WAIT_MS = 300;
const text = (data: Uint8Array): string => new TextDecoder().decode(data);

let clock: ManualClock;
let bus: Bus;
let stream: Stream;
let consumer: Consumer;
beforeEach(async () => {
  clock = createManualClock();
  bus = createMemoryBus({ clock });
  stream = await bus.stream({
    name: "W",
    subjects: ["w"],
    retention: "work-queue",
    maxMessages: 50,
    maxBytes: 10_000,
  });
  consumer = await stream.consumer({ name: "c", ackWaitMs: ACK_WAIT_MS, maxAckPending: 50 });
});
afterEach(() => bus.close());

const send = (...items: string[]) => Promise.all(items.map((item) => stream.publish("w", Buffer.from(item))));

/** A worker whose items end when the test says so. */
function worker(options: { room?: number; pulls?: number; poison?: string; broken?: string } = {}) {
  const ends = new Map<string, { resolve: (result: string) => void; reject: (reason: Error) => void }>();
  const events: string[] = [];
  let inHand = 0;
  const loop: WorkLoop<string, string> = new WorkLoop({
    consumer,
    clock,
    handBackDelayMs: 100,
    hasRoom: (pulling) => inHand + pulling < (options.room ?? 10),
    pulls: options.pulls ?? 1,
    onEvent(event: WorkEvent<string, string>) {
      events.push(`${event.type} ${event.id}`);
      if (event.type === "pulled") inHand++;
      else if (event.id !== "message 1" || ends.has(event.id)) inHand--;
    },
    handler: {
      read(message) {
        if (text(message.data) === "unreadable") throw new OarlockError("UNREADABLE", "not a message");
        return { id: text(message.data), item: text(message.data) };
      },
      async start(item, id, signal) {
        if (item === "refused") throw new OarlockError("NO_SLOT", "cannot start");
        const done = new Promise<string>((resolve, reject) => {
          ends.set(id, { resolve, reject });
          signal.addEventListener("abort", () => reject(givenUp(id)));
        });
        return { done };
      },
      isPoison: (reason) => reason instanceof OarlockError && reason.code === options.poison,
      isBroken: (reason) => reason instanceof OarlockError && reason.code === options.broken,
    },
  });
  return { loop, ends, events };
}

describe("work loop", () => {
  it.each([1, 3])(
    "L1: ends with its own failure, and hands back all that it held, %i pulls",
    async (pulls) => {
      const { loop, ends, events } = worker({ broken: "ENGINE", pulls });
      const running = loop.run(new AbortController().signal);
      const ended = expect(running).rejects.toThrow(/the engine is gone/);
      await send("a", "b");
      await clock.advance(1);
      ends.get("a")?.reject(new OarlockError("ENGINE", "the engine is gone"));
      await clock.advance(1);
      await ended;
      expect(events.toSorted()).toEqual(["handed-back a", "handed-back b", "pulled a", "pulled b"]);
      expect(await stream.info()).toMatchObject({ messages: 2 });
    },
  );

  it("T2: acknowledges an item only once it is done", async () => {
    const { loop, ends, events } = worker();
    const stop = new AbortController();
    const running = loop.run(stop.signal);
    await send("a");
    await clock.advance(1);
    expect(await stream.info()).toMatchObject({ messages: 1 });
    ends.get("a")?.resolve("fine");
    await clock.advance(1);
    expect(await stream.info()).toMatchObject({ messages: 0 });
    expect(events).toEqual(["pulled a", "done a"]);
    stop.abort();
    await running;
  });

  it("keeps what it works on longer than the ack wait", async () => {
    const { loop, ends, events } = worker();
    const running = loop.run(new AbortController().signal);
    await send("slow");
    await clock.advance(5 * ACK_WAIT_MS);
    ends.get("slow")?.resolve("fine");
    await clock.advance(1);
    await loop.drain(10);
    await running;
    expect(events).toEqual(["pulled slow", "done slow"]);
    expect((await consumer.info()).redelivered).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });

  it.each([1, 3])("Q1: pulls no more than there is room for, %i at a time", async (pulls) => {
    const { loop, ends, events } = worker({ room: 2, pulls });
    const running = loop.run(new AbortController().signal);
    await send("a", "b", "c");
    await clock.advance(1);
    expect(events).toEqual(["pulled a", "pulled b"]);
    ends.get("a")?.resolve("fine");
    await clock.advance(1);
    expect(events.slice(2)).toEqual(["done a", "pulled c"]);
    for (const end of ends.values()) end.resolve("fine");
    await loop.drain(10);
    await running;
  });

  it("hands back what fails, after a pause, and does it again", async () => {
    const { loop, ends, events } = worker();
    const running = loop.run(new AbortController().signal);
    await send("a");
    await clock.advance(1);
    ends.get("a")?.reject(new OarlockError("FLAKY", "try again"));
    await clock.advance(90);
    expect(events).toEqual(["pulled a", "handed-back a"]);
    await clock.advance(20);
    expect(events).toEqual(["pulled a", "handed-back a", "pulled a"]);
    ends.get("a")?.resolve("fine");
    await loop.drain(10);
    await running;
    expect((await stream.info()).messages).toBe(0);
  });

  it("parks what it cannot read and what no retry can cure, and goes on", async () => {
    const { loop, ends, events } = worker({ poison: "NO_SLOT" });
    const running = loop.run(new AbortController().signal);
    await send("unreadable", "refused", "fine");
    await clock.advance(1);
    ends.get("fine")?.resolve("fine");
    await loop.drain(10);
    await running;
    expect(events).toEqual([
      "parked message 1",
      "pulled refused",
      "parked refused",
      "pulled fine",
      "done fine",
    ]);
    expect((await stream.info()).parked.map(({ reason }) => reason)).toEqual([
      "[UNREADABLE] not a message",
      "[NO_SLOT] cannot start",
    ]);
  });

  it("L1: a drain waits for its grace and hands the rest back at once", async () => {
    const { loop, ends, events } = worker();
    const running = loop.run(new AbortController().signal);
    await send("quick", "slow");
    await clock.advance(1);
    const drained = loop.drain(200);
    ends.get("quick")?.resolve("fine");
    await send("late");
    await clock.advance(250);
    await drained;
    await running;
    expect(events).toEqual(["pulled quick", "pulled slow", "done quick", "handed-back slow"]);
    const again = await consumer.next({ timeoutMs: 10 });
    expect([again?.deliveryCount, text(again?.data ?? new Uint8Array())]).toEqual([2, "slow"]);
  });

  it("ends with the bus, and does not spin", async () => {
    const { loop } = worker();
    const running = loop.run(new AbortController().signal);
    await clock.advance(1);
    await bus.close();
    await running;
    expect(clock.pendingTimers).toBe(0);
  });

  it("gives everything back at once when its signal aborts", async () => {
    const { loop, events } = worker();
    const stop = new AbortController();
    const running = loop.run(stop.signal);
    await send("a", "b");
    await clock.advance(1);
    stop.abort();
    await running;
    expect(events.slice(2)).toEqual(["handed-back a", "handed-back b"]);
    expect(loop.size).toBe(0);
    expect((await consumer.next({ timeoutMs: 10 }))?.deliveryCount).toBe(2);
  });

  it("says in the log lines about an item which trace it belongs to", async () => {
    const lines: Record<string, unknown>[] = [];
    const log = createLog({ write: (line) => void lines.push(JSON.parse(line)) });
    const trace = { traceId: "a".repeat(32), spanId: "b".repeat(16), flags: 1 };
    const loop: WorkLoop<string, string> = new WorkLoop({
      consumer,
      clock,
      log,
      hasRoom: () => true,
      onEvent: () => undefined,
      handler: {
        read: (message) => ({ id: text(message.data), item: "", trace }),
        start: async (_, id) => {
          if (id === "poison") throw new OarlockError("POISON", "no");
          return { done: Promise.resolve().then(() => Promise.reject(new Error("later"))) };
        },
        isPoison: (reason) => reason instanceof OarlockError,
      },
    });
    const stop = new AbortController();
    const running = loop.run(stop.signal);
    await send("poison", "failing");
    await clock.advance(1);
    stop.abort();
    await running;
    const said = lines.map(({ item, trace_id, span_id }) => ({ item, trace_id, span_id }));
    const ids = { trace_id: trace.traceId, span_id: trace.spanId };
    expect(said).toEqual([
      { item: "poison", ...ids },
      { item: "failing", ...ids },
    ]);
  });
});
