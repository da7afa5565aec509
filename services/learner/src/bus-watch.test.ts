/** What a status says of the bus: depths, ages, poison, and nothing new while the bus is gone. */
import { createMemoryBus } from "@oarlock/bus";
import { createLog, createManualClock } from "@oarlock/runtime";
import { expect, it } from "vitest";
import { watchBus } from "./bus-watch.ts";

it("tells depth and age of every stream, and of poison once", async () => {
  const clock = createManualClock();
  const bus = createMemoryBus({ clock });
  const limits = { retention: "work-queue", maxMessages: 9, maxBytes: 1_000 } as const;
  const stream = await bus.stream({ name: "W", subjects: ["w"], ...limits });
  const consumer = await stream.consumer({ name: "c", ackWaitMs: 60_000, maxAckPending: 9 });
  const lines: string[] = [];
  const log = createLog({ write: (line) => void lines.push(line) });
  const watch = watchBus({ bus, capacities: new Map([["W", 9]]), clock, log });
  expect([watch.queues(), watch.parked()]).toEqual([[], ""]);
  await stream.publish("w", Buffer.from("poison"));
  await stream.publish("w", Buffer.from("fine"));
  await (await consumer.next({ timeoutMs: 1_000 }))?.term("unreadable");
  await clock.advance(2_001);
  expect(watch.queues()).toMatchObject([{ name: "messages in W", depth: 1, capacity: 9, oldestMs: 2_000 }]);
  expect(watch.parked()).toBe("1 parked message(s), the last one because: unreadable");
  await clock.advance(6_000);
  expect(lines.filter((line) => line.includes("a message is parked"))).toHaveLength(1);
  await bus.close();
  await clock.advance(6_000);
  expect(watch.queues()).toMatchObject([{ depth: 1 }]);
  watch.stop();
  await clock.advance(6_000);
  expect(clock.pendingTimers).toBe(0);
});
