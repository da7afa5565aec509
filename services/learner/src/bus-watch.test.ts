/** What a status says of the bus: depths, ages, poison, and nothing new while the bus is gone. */
import { createMemoryBus } from "@oarlock/bus";
import type { ParkedMessage } from "@oarlock/bus";
import { createLog, createManualClock } from "@oarlock/runtime";
import { expect, it } from "vitest";
import { OWN_READER, watchBus } from "./bus-watch.ts";

it("tells depth and age of every stream, and of poison once", async () => {
  const clock = createManualClock();
  const bus = createMemoryBus({ clock });
  const limits = { retention: "work-queue", maxMessages: 9, maxBytes: 1_000 } as const;
  const stream = await bus.stream({ name: "W", subjects: ["w"], ...limits });
  const consumer = await stream.consumer({ name: "c", ackWaitMs: 60_000, maxAckPending: 9 });
  const scored = await bus.stream({ name: "S", subjects: ["s"], ...limits });
  await scored.consumer({ name: "own", ackWaitMs: 60_000, maxAckPending: 9 });
  const lines: string[] = [];
  const log = createLog({ write: (line) => void lines.push(line) });
  const readers = new Map([
    ["c", { who: "the actors", what: "pieces of work" }],
    ["own", OWN_READER],
  ]);
  const heard: (string | undefined)[] = [];
  const onParked = ({ msgId }: ParkedMessage): void => void heard.push(msgId);
  const capacities = new Map([
    ["W", 9],
    ["S", 9],
  ]);
  const watch = watchBus({ bus, capacities, readers, onParked, clock, log });
  expect([watch.queues(), watch.parked()]).toEqual([[], ""]);
  await stream.publish("w", Buffer.from("poison"), { msgId: "p/1" });
  await stream.publish("w", Buffer.from("fine"));
  await scored.publish("s", Buffer.from("fine"));
  await (await consumer.next({ timeoutMs: 1_000 }))?.term("unreadable");
  await clock.advance(2_001);
  const seen = { depth: 1, capacity: 9, oldestMs: 2_000 };
  expect(watch.queues()).toEqual([
    { name: "messages in W", ...seen },
    { name: "pieces of work at the actors", ...seen },
    { name: "messages in S", ...seen },
    { name: "scored groups at the learner", ...seen },
  ]);
  expect(watch.parked()).toBe("parked messages of W: 1, the last one is 1: unreadable");
  expect(watch.heldUp()).toBe(
    "held up at the actors: 0 pieces of work in hand, 1 not taken, the oldest 2.0 s old: nobody takes any",
  );
  await clock.advance(6_000);
  expect(lines.filter((line) => line.includes("a message is parked"))).toHaveLength(1);
  expect(heard).toEqual(["p/1"]);
  await bus.close();
  await clock.advance(6_000);
  expect(watch.queues()[0]).toMatchObject({ depth: 1 });
  // L1: what was seen last explains nothing any more.
  expect(watch.heldUp()).toMatch(/^held up at the broker: it has not answered for [67]/);
  watch.stop();
  await clock.advance(6_000);
  expect(clock.pendingTimers).toBe(0);
});
