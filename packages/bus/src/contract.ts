// oxlint-disable max-lines-per-function, typescript/no-non-null-assertion -- a test suite, though its name is no test's
/**
 * What every bus driver must do, as tests: the drivers run it with a maker of their own. Time passes through the maker, so
 * that one driver moves a clock by hand and the other one really waits.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { storesContract } from "./contract-stores.ts";
import { subjects } from "./subjects.ts";
import type { Bus, Consumer, ConsumerConfig, Message, Stream, StreamConfig } from "./types.ts";

/** A fresh, empty bus and its time. */
export interface BusUnderTest {
  readonly bus: Bus;
  /** Lets `deltaMs` pass for the bus. */
  readonly pass: (deltaMs: number) => Promise<void>;
}

const ACK_WAIT_MS = 1_000;
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (data: Uint8Array): string => new TextDecoder().decode(data);

let uids = 0;

/** Declares the suite for one driver. */
export function busContract(name: string, make: () => Promise<BusUnderTest>): void {
  describe(`${name} bus`, () => {
    let bus: Bus;
    let pass: (deltaMs: number) => Promise<void>;
    let uid: string;
    beforeEach(async () => {
      ({ bus, pass } = await make());
      uid = `contract-${process.pid}-${++uids}`;
    });
    afterEach(() => bus.close());

    const openStream = (config: Partial<StreamConfig> = {}): Promise<Stream> =>
      bus.stream({
        name: subjects(uid).workStream,
        subjects: [`oarlock.${uid}.work.>`],
        retention: "work-queue",
        maxMessages: 100,
        maxBytes: 1_000_000,
        ...config,
      });
    const openConsumer = (stream: Stream, config: Partial<ConsumerConfig> = {}): Promise<Consumer> =>
      stream.consumer({ name: "workers", ackWaitMs: ACK_WAIT_MS, maxAckPending: 10, ...config });
    const subject = (last = "rollout"): string => `oarlock.${uid}.work.${last}`;
    /** What is there, without waiting for more. */
    const take = async (consumer: Consumer): Promise<Message | undefined> => {
      const next = consumer.next({ timeoutMs: 200 });
      await pass(0);
      const early = await Promise.race([next, pass(250)]);
      return early ?? next;
    };
    /** What comes, however late a busy machine delivers it. */
    const mustTake = async (consumer: Consumer): Promise<Message> => {
      for (let tries = 0; tries < 25; tries++) {
        const message = await take(consumer);
        if (message !== undefined) return message;
      }
      throw new Error("no message came");
    };

    describe("work queue", () => {
      it("delivers in order what was published, as it was", async () => {
        const stream = await openStream();
        const consumer = await openConsumer(stream);
        const sent = Buffer.from("first"); // whose slices share their memory
        const headers = { traceparent: "00-abc", kind: "rollout" };
        const ack = await stream.publish(subject(), sent, { headers });
        sent.fill(0); // the publisher's buffer is its own again
        await stream.publish(subject(), bytes("second"));
        const first = await mustTake(consumer);
        expect(first).toMatchObject({ subject: subject(), sequence: ack.sequence, deliveryCount: 1 });
        expect(first.headers).toMatchObject(headers);
        expect(text(first.data)).toBe("first");
        expect(text((await mustTake(consumer)).data)).toBe("second");
        expect(await take(consumer)).toBeUndefined();
      });

      it("stores a message id once within its window, and again after it", async () => {
        const stream = await openStream({ duplicateWindowMs: 1_000 });
        const first = await stream.publish(subject(), bytes("a"), { msgId: "g/1" });
        const again = await stream.publish(subject(), bytes("a"), { msgId: "g/1" });
        expect([first.duplicate, again]).toEqual([false, { sequence: first.sequence, duplicate: true }]);
        expect((await stream.publish(subject(), bytes("b"), { msgId: "g/2" })).duplicate).toBe(false);
        await pass(1_500);
        expect((await stream.publish(subject(), bytes("a"), { msgId: "g/1" })).duplicate).toBe(false);
        expect((await stream.info()).messages).toBe(3);
      });

      it("T1: removes what is acknowledged and never delivers it again", async () => {
        const stream = await openStream();
        const consumer = await openConsumer(stream);
        await stream.publish(subject(), bytes("a"));
        const message = await mustTake(consumer);
        await message.ack();
        await message.ack();
        await pass(3 * ACK_WAIT_MS);
        expect(await take(consumer)).toBeUndefined();
        expect(await stream.info()).toMatchObject({ messages: 0, bytes: 0 });
      });

      it("delivers again after the ack wait, with a count", async () => {
        const stream = await openStream();
        const consumer = await openConsumer(stream);
        await stream.publish(subject(), bytes("a"));
        expect((await mustTake(consumer)).deliveryCount).toBe(1);
        expect(await take(consumer)).toBeUndefined();
        await pass(ACK_WAIT_MS + 200);
        const second = await mustTake(consumer);
        expect(second).toMatchObject({ deliveryCount: 2, sequence: 1 });
        expect((await consumer.info()).redelivered).toBe(1);
      });

      it("D1c: a delivery count alone never drops a message", async () => {
        const stream = await openStream();
        const consumer = await openConsumer(stream);
        await stream.publish(subject(), bytes("a"));
        for (let count = 1; count <= 12; count++) {
          const message = await mustTake(consumer);
          expect(message.deliveryCount).toBe(count);
          await message.nak();
        }
      });

      it("keeps a message with a worker that says it is still at it", async () => {
        const stream = await openStream();
        const consumer = await openConsumer(stream);
        await stream.publish(subject(), bytes("a"));
        const message = await mustTake(consumer);
        for (let turn = 0; turn < 4; turn++) {
          await pass(ACK_WAIT_MS * 0.6);
          await message.working();
        }
        expect(await take(consumer)).toBeUndefined();
        await message.ack();
        expect((await stream.info()).messages).toBe(0);
      });

      it("gives a message back at once, or after a delay", async () => {
        const stream = await openStream();
        const consumer = await openConsumer(stream, { ackWaitMs: 60_000 });
        await stream.publish(subject(), bytes("a"));
        await (await mustTake(consumer)).nak();
        await (await mustTake(consumer)).nak(1_500);
        expect(await take(consumer)).toBeUndefined();
        await pass(1_700);
        expect((await mustTake(consumer)).deliveryCount).toBe(3);
      });

      it("parks poison with its reason and goes on", async () => {
        const stream = await openStream();
        const consumer = await openConsumer(stream);
        await stream.publish(subject(), bytes("poison"), { headers: { from: "x" }, msgId: "p/1" });
        await stream.publish(subject(), bytes("fine"));
        await (await mustTake(consumer)).term("undecodable");
        expect(text((await mustTake(consumer)).data)).toBe("fine");
        await pass(2 * ACK_WAIT_MS);
        const { parked } = await stream.info();
        expect(parked).toMatchObject([
          { sequence: 1, subject: subject(), reason: "undecodable", headers: { from: "x" }, msgId: "p/1" },
        ]);
      });

      it("takes a late acknowledgement: the work is done, whoever holds the message now", async () => {
        const stream = await openStream();
        const consumer = await openConsumer(stream);
        await stream.publish(subject(), bytes("a"));
        const late = await mustTake(consumer);
        await pass(ACK_WAIT_MS + 200);
        const second = await mustTake(consumer);
        await late.ack();
        expect((await stream.info()).messages).toBe(0);
        await second.ack();
      });

      it("Q1: holds at most maxAckPending out, over all readers", async () => {
        const stream = await openStream();
        const consumer = await openConsumer(stream, { maxAckPending: 2 });
        const other = await openConsumer(stream, { maxAckPending: 2 });
        for (const data of ["a", "b", "c"]) await stream.publish(subject(), bytes(data));
        const first = await mustTake(consumer);
        await mustTake(other);
        expect(await take(other)).toBeUndefined();
        expect(await consumer.info()).toMatchObject({ ackPending: 2, pending: 1 });
        await first.ack();
        expect(text((await mustTake(other)).data)).toBe("c");
      });

      it("Q1: refuses messages when full and takes them when there is room", async () => {
        const stream = await openStream({ maxMessages: 2 });
        const consumer = await openConsumer(stream);
        await stream.publish(subject(), bytes("a"));
        await stream.publish(subject(), bytes("b"));
        const refused = stream.publish(subject(), bytes("c"), { msgId: "c" });
        await expect(refused).rejects.toMatchObject({ code: "BUS_STREAM_FULL", retryable: true });
        await (await mustTake(consumer)).ack();
        expect((await stream.publish(subject(), bytes("c"), { msgId: "c" })).duplicate).toBe(false);
      });

      it("X1: refuses what no stream stores, what is too large, and names that cannot be", async () => {
        const stream = await openStream();
        const elsewhere = stream.publish(`oarlock.${uid}.other`, bytes("a"));
        await expect(elsewhere).rejects.toMatchObject({ code: "BUS_SUBJECT_UNKNOWN" });
        const large = new Uint8Array(bus.maxPayloadBytes + 1);
        await expect(stream.publish(subject(), large)).rejects.toMatchObject({
          code: "BUS_PAYLOAD_TOO_LARGE",
        });
        await expect(openConsumer(stream, { name: "a b" })).rejects.toMatchObject({
          code: "BUS_NAME_INVALID",
        });
        await expect(openConsumer(stream, { maxAckPending: 0 })).rejects.toMatchObject({
          code: "BUS_LIMIT_INVALID",
        });
      });

      it("carries what is larger than a message where the stream says so, once", async () => {
        const config = { maxBytes: 40_000_000, oversize: "store" } as const;
        const stream = await openStream(config);
        const consumer = await openConsumer(stream);
        const large = Uint8Array.from({ length: bus.maxPayloadBytes + 5 }, (_, index) => index & 255);
        const options = { msgId: "large", headers: { kind: "scored" } };
        const first = await stream.publish(subject(), large, options);
        expect(first.duplicate).toBe(false);
        const again = await stream.publish(subject(), large, options);
        expect(again).toEqual({ sequence: first.sequence, duplicate: true });
        const message = await mustTake(consumer);
        expect(message.headers).toEqual({ kind: "scored" });
        expect(Buffer.from(message.data).equals(large)).toBe(true);
        await message.ack();
        expect((await stream.info()).messages).toBe(0);
        await stream.publish(subject(), large);
        await (await openStream(config)).purge(); // by another one
        expect(await take(consumer)).toBeUndefined();
        await stream.publish(subject(), large);
        expect((await mustTake(consumer)).data).toHaveLength(large.length);
      });

      it("routes by filter, and refuses consumers that would share messages", async () => {
        const stream = await openStream();
        const left = await openConsumer(stream, { name: "left", filterSubject: subject("left") });
        const right = await openConsumer(stream, { name: "right", filterSubject: subject("right") });
        await stream.publish(subject("right"), bytes("r"));
        await stream.publish(subject("left"), bytes("l"));
        expect(text((await mustTake(left)).data)).toBe("l");
        expect(text((await mustTake(right)).data)).toBe("r");
        await expect(openConsumer(stream, { name: "both" })).rejects.toMatchObject({
          code: "BUS_CONSUMER_OVERLAP",
        });
      });

      it("reopens streams and consumers by name, and refuses another configuration", async () => {
        const stream = await openStream();
        await openConsumer(stream);
        await stream.publish(subject(), bytes("a"));
        const again = await openStream();
        expect(text((await mustTake(await openConsumer(again))).data)).toBe("a");
        await expect(openStream({ maxMessages: 7 })).rejects.toMatchObject({ code: "BUS_CONFIG_MISMATCH" });
        const other = openConsumer(again, { ackWaitMs: 5_000 });
        await expect(other).rejects.toMatchObject({ code: "BUS_CONSUMER_MISMATCH" });
      });

      it("gives a consumer that comes later what is stored already", async () => {
        const stream = await openStream();
        await stream.publish(subject(), bytes("a"));
        expect(text((await mustTake(await openConsumer(stream))).data)).toBe("a");
      });

      it("shares messages among readers, each exactly once", async () => {
        const stream = await openStream();
        const stop = new AbortController();
        const seen: string[] = [];
        const read = async (): Promise<void> => {
          const consumer = await openConsumer(stream, { ackWaitMs: 60_000 });
          for await (const message of consumer.messages({ signal: stop.signal })) {
            seen.push(text(message.data));
            await message.ack();
          }
        };
        const readers = [read(), read(), read()];
        const sent = Array.from({ length: 30 }, (_, index) => `message ${index}`);
        for (const data of sent) await stream.publish(subject(), bytes(data));
        await expect.poll(() => seen.length).toBe(30);
        stop.abort();
        await Promise.all(readers);
        expect(new Set(seen)).toEqual(new Set(sent));
      });

      it("purges messages and keeps consumers; deletes both", async () => {
        const stream = await openStream();
        const consumer = await openConsumer(stream);
        await stream.publish(subject(), bytes("a"));
        await stream.purge();
        expect(await take(consumer)).toBeUndefined();
        await stream.publish(subject(), bytes("b"));
        expect(text((await mustTake(consumer)).data)).toBe("b");
        await stream.delete();
        expect((await (await openStream()).info()).messages).toBe(0);
      });

      it("purges what lay there at a mark, and nothing that came later", async () => {
        const stream = await openStream({ maxBytes: 40_000_000, oversize: "store" });
        const consumer = await openConsumer(stream);
        const large = (fill: number): Uint8Array => new Uint8Array(bus.maxPayloadBytes + 5).fill(fill);
        for (const data of [bytes("a"), large(1)]) await stream.publish(subject(), data);
        const mark = await stream.mark();
        for (const data of [large(2), bytes("b")]) await stream.publish(subject(), data);
        await stream.purge(mark);
        const left = [await mustTake(consumer), await mustTake(consumer)];
        expect(left.map(({ data }) => data[0])).toEqual([2, bytes("b")[0]]);
        for (const message of left) await message.ack();
        expect((await stream.mark()).objects).toEqual([]);
        await stream.purge(await stream.mark());
      });
    });

    describe("log", () => {
      it("shows every message to every consumer, and lets the oldest go", async () => {
        const stream = await openStream({ retention: "log", maxMessages: 3 });
        const left = await openConsumer(stream, { name: "left" });
        for (const data of ["a", "b", "c", "d"]) await stream.publish(subject(), bytes(data));
        const right = await openConsumer(stream, { name: "right" });
        for (const consumer of [left, right]) {
          const seen: string[] = [];
          for (let message = await take(consumer); message !== undefined; message = await take(consumer)) {
            seen.push(text(message.data));
            await message.ack();
          }
          expect(seen).toEqual(["b", "c", "d"]);
        }
        expect((await stream.info()).messages).toBe(3);
      });
    });

    storesContract({
      get bus() {
        return bus;
      },
      get uid() {
        return uid;
      },
    });

    describe("runs", () => {
      it("of two uids never meet, and one is removed without the other", async () => {
        const stream = await openStream();
        await stream.publish(subject(), bytes("mine"), { msgId: "1" });
        const own = uid;
        uid = `${own}-2`; // one uid is a prefix of the other
        const other = await openStream();
        expect((await other.publish(subject(), bytes("other"), { msgId: "1" })).duplicate).toBe(false);
        await (await bus.kv({ name: subjects(uid).stateBucket })).put("run", bytes("x"));
        // What a part of the run keeps is the run's.
        const part = subjects(`${own}_part`).stateBucket;
        await (await bus.kv({ name: part })).put("version", bytes("1"));
        await bus.removeRun(own);
        expect(await (await bus.kv({ name: part })).get("version")).toBeUndefined();
        await bus.removeRun(`${own}_part`);
        expect((await bus.info()).map((info) => info.name)).toEqual([subjects(uid).workStream]);
        await bus.removeRun(uid);
        expect(await bus.info()).toEqual([]);
        expect(await (await bus.kv({ name: subjects(uid).stateBucket })).get("run")).toBeUndefined();
        // Created again within the duplicate window: the same id is a new message.
        expect((await (await openStream()).publish(subject(), bytes("new"), { msgId: "1" })).duplicate).toBe(
          false,
        );
      });
    });

    describe("ending", () => {
      it("a reader that stops lets the next message go to another", async () => {
        const stream = await openStream();
        const consumer = await openConsumer(stream, { ackWaitMs: 60_000 });
        const stop = new AbortController();
        const reading = (async () => {
          for await (const message of consumer.messages({ signal: stop.signal })) await message.ack();
        })();
        await pass(10);
        stop.abort();
        await stream.publish(subject(), bytes("a"));
        await reading;
        expect(text((await mustTake(consumer)).data)).toBe("a");
      });

      it("closing ends readers and watchers, and refuses what comes later", async () => {
        const stream = await openStream();
        const consumer = await openConsumer(stream);
        const kv = await bus.kv({ name: subjects(uid).stateBucket });
        const ended = Promise.all([
          (async () => {
            for await (const message of consumer.messages()) await message.ack();
          })(),
          (async () => {
            for await (const entry of kv.watch("run")) expect(entry.key).toBe("run");
          })(),
        ]);
        await pass(10);
        await bus.close();
        await ended;
        await expect(stream.publish(subject(), bytes("a"))).rejects.toMatchObject({ code: "BUS_CLOSED" });
        await expect(kv.get("run")).rejects.toMatchObject({ code: "BUS_CLOSED" });
        await expect(consumer.next({ timeoutMs: 10 })).rejects.toMatchObject({ code: "BUS_CLOSED" });
        await expect(openStream()).rejects.toMatchObject({ code: "BUS_CLOSED" });
      });
    });
  });
}
