/** The memory driver under the contract, and under random interleavings that only a hand-moved clock can drive. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createManualClock } from "@oarlock/runtime";
import { busContract } from "../contract.ts";
import type { Message } from "../types.ts";
import { createMemoryBus } from "./bus.ts";

busContract("memory", async () => {
  const clock = createManualClock();
  return {
    bus: createMemoryBus({ clock, maxPayloadBytes: 100_000 }),
    pass: (deltaMs) => clock.advance(deltaMs),
  };
});

type Move =
  | { readonly type: "publish" | "take" }
  | { readonly type: "ack" | "nak" | "working"; readonly held: number }
  | { readonly type: "pass"; readonly ms: number };

const moves = fc.array(
  fc.oneof<fc.Arbitrary<Move>[]>(
    fc.record({ type: fc.constantFrom("publish" as const, "take" as const) }),
    fc.record({ type: fc.constantFrom("ack" as const, "nak" as const, "working" as const), held: fc.nat(5) }),
    fc.record({ type: fc.constant("pass" as const), ms: fc.integer({ min: 1, max: 700 }) }),
  ),
  { maxLength: 60 },
);

describe("a work queue", () => {
  it("T1, Q1: under any interleaving of readers, returns and lapses, nothing is lost and nothing acknowledged comes back", async () => {
    await fc.assert(
      fc.asyncProperty(moves, async (script) => {
        const clock = createManualClock();
        await using bus = createMemoryBus({ clock });
        const stream = await bus.stream({
          name: "W",
          subjects: ["w"],
          retention: "work-queue",
          maxMessages: 8,
          maxBytes: 100,
        });
        const consumer = await stream.consumer({ name: "c", ackWaitMs: 500, maxAckPending: 3 });
        const acknowledged = new Set<number>();
        const held: Message[] = [];
        let published = 0;
        const take = async (): Promise<Message | undefined> => {
          const next = consumer.next({ timeoutMs: 1 });
          await clock.advance(2);
          const message = await next;
          expect(acknowledged.has(message?.sequence ?? 0)).toBe(false);
          return message;
        };
        const pick = (index: number): Message | undefined => held[index % Math.max(1, held.length)];
        const play: { readonly [T in Move["type"]]: (move: Move) => Promise<unknown> } = {
          publish: () =>
            stream.publish("w", new Uint8Array(1)).then(
              () => published++,
              () => undefined,
            ),
          take: async () => {
            const message = await take();
            if (message !== undefined) held.push(message);
          },
          ack: async (move) => {
            const message = pick("held" in move ? move.held : 0);
            await message?.ack();
            if (message !== undefined) acknowledged.add(message.sequence);
          },
          nak: async (move) => pick("held" in move ? move.held : 0)?.nak(),
          working: async (move) => pick("held" in move ? move.held : 0)?.working(),
          pass: async (move) => clock.advance("ms" in move ? move.ms : 0),
        };
        for (const move of script) {
          await play[move.type](move);
          const { ackPending } = await consumer.info();
          expect(ackPending).toBeLessThanOrEqual(3);
          expect((await stream.info()).messages).toBe(published - acknowledged.size);
        }
        // Everything that is left comes, once the readers that hold it are past their time.
        await clock.advance(600);
        for (let message = await take(); message !== undefined; message = await take()) {
          await message.ack();
          acknowledged.add(message.sequence);
        }
        expect(acknowledged.size).toBe(published);
        expect(await stream.info()).toMatchObject({ messages: 0, bytes: 0 });
      }),
      { numRuns: 60 },
    );
  });

  it("leaves no timer behind when it closes", async () => {
    const clock = createManualClock();
    const bus = createMemoryBus({ clock });
    const stream = await bus.stream({
      name: "W",
      subjects: ["w"],
      retention: "work-queue",
      maxMessages: 8,
      maxBytes: 100,
    });
    const consumer = await stream.consumer({ name: "c", ackWaitMs: 500, maxAckPending: 3 });
    for (let count = 0; count < 3; count++) await stream.publish("w", new Uint8Array(1));
    await consumer.next({ timeoutMs: 5 });
    await (await consumer.next({ timeoutMs: 5 }))?.nak(1_000);
    const waiting = (await stream.consumer(consumer.config)).messages();
    expect((await waiting[Symbol.asyncIterator]().next()).done).toBe(false);
    expect(clock.pendingTimers).toBe(3);
    await bus.close();
    expect(clock.pendingTimers).toBe(0);
  });
});
