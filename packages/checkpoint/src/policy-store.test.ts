/** W1, W2, F1, Q1 of policy versions, on the memory bus. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import fc from "fast-check";
import { type Bus, createMemoryBus, type ObjectStore, subjects } from "@oarlock/bus";
import { bytesOf, sha256Hex } from "@oarlock/runtime";
import { openPolicyStore, type PolicyStoreOptions } from "./policy-store.ts";
import type { PolicyStore } from "./types.ts";

const UID = "run-1";
const CONFIG = "c".repeat(64);
let bus: Bus;

beforeEach(() => {
  bus = createMemoryBus();
});
afterEach(() => bus.close());

function store(incarnation: number, options: Partial<PolicyStoreOptions> = {}): Promise<PolicyStore> {
  return openPolicyStore({
    bus,
    uid: UID,
    incarnation,
    configDigest: CONFIG,
    maxBytes: 1 << 20,
    shardElements: 10,
    ...options,
  });
}

const ramp = (length: number, from = 0): Float32Array =>
  Float32Array.from({ length }, (_, index) => from + index);
const snapshot = (number: number, weights: Float32Array) => ({ number, weights, stage: 0, step: number });
const objects = () => bus.objects({ name: subjects(UID).policyBucket, maxBytes: 1 << 20 });

/** The bus, with a wire that says what travels, and that tears once at the n-th object from now on. */
function watchedObjects(): { bus: Bus; readonly sent: string[]; readonly read: string[]; failAt: number } {
  const wire = { bus, sent: [] as string[], read: [] as string[], failAt: -1 };
  const travel = (log: string[], name: string): void => {
    log.push(name);
    if (wire.failAt-- === 0) throw new Error("torn");
  };
  const watched = (inner: ObjectStore): ObjectStore => ({
    config: inner.config,
    info: (name) => inner.info(name),
    list: () => inner.list(),
    delete: (name) => inner.delete(name),
    async put(name, content, options) {
      travel(wire.sent, name);
      return inner.put(name, content, options);
    },
    async *get(name, options) {
      travel(wire.read, name);
      yield* inner.get(name, options);
    },
  });
  const objects: Bus["objects"] = async (config) => watched(await bus.objects(config));
  wire.bus = new Proxy(bus, {
    get(target, key) {
      if (key === "objects") return objects;
      const value: unknown = Reflect.get(target, key);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
  return wire;
}

describe("policy store", () => {
  it("gives back the bits that were published, under the digest of the flat bytes", async () => {
    const learner = await store(1);
    const actor = await store(0);
    await fc.assert(
      fc.asyncProperty(fc.float32Array({ minLength: 1, maxLength: 40 }), fc.nat(), async (weights, salt) => {
        const number = ((await learner.current())?.current.number ?? -1) + 1 + (salt % 3);
        const version = await learner.publish(snapshot(number, weights));
        expect(version).toEqual({ number, digest: sha256Hex(bytesOf(weights)) });
        const fetched = await actor.fetch(version);
        expect(Buffer.from(bytesOf(fetched)).equals(Buffer.from(bytesOf(weights)))).toBe(true);
      }),
      { numRuns: 30 },
    );
  });

  it("W1: nothing is visible while shards are being stored, and the pointer moves once", async () => {
    const learner = await store(1);
    const seen: number[] = [];
    const stop = new AbortController();
    const watching = (async () => {
      for await (const { current } of learner.watch(stop.signal)) {
        // Whatever is announced can be fetched at that moment.
        expect((await learner.fetch(current)).length).toBe(25);
        seen.push(current.number);
      }
    })();
    const publishing = learner.publish(snapshot(1, ramp(25)));
    expect(await learner.current()).toBeUndefined();
    await publishing;
    await learner.publish(snapshot(2, ramp(25, 1)));
    await expect.poll(() => seen.at(-1)).toBe(2);
    stop.abort();
    await watching;
    expect(new Set(seen).size).toBe(seen.length);
  });

  it("W1: weights that are not what the trainer hashed are never announced", async () => {
    const learner = await store(1);
    const torn = { ...snapshot(1, ramp(25)), digest: sha256Hex("another state") };
    await expect(learner.publish(torn)).rejects.toMatchObject({ code: "POLICY_DIGEST_MISMATCH" });
    expect(await learner.current()).toBeUndefined();
  });

  it("W1: a buffer that is written to during publication cannot pass under its old digest", async () => {
    const learner = await store(1);
    const weights = ramp(1000);
    const digest = sha256Hex(bytesOf(weights));
    const publishing = learner.publish({ ...snapshot(1, weights), digest });
    weights[999] = -1;
    await expect(publishing).rejects.toMatchObject({ code: "POLICY_DIGEST_MISMATCH" });
  });

  it("W2: refuses versions that are not announced, by number or by digest", async () => {
    const learner = await store(1);
    const version = await learner.publish(snapshot(1, ramp(5)));
    await expect(learner.fetch({ ...version, number: 2 })).rejects.toMatchObject({ code: "POLICY_MISSING" });
    await expect(learner.fetch({ ...version, digest: sha256Hex("x") })).rejects.toMatchObject({
      code: "POLICY_MISSING",
    });
  });

  it("W2: refuses a stored object that was replaced, a manifest that lies, and another model's weights", async () => {
    const learner = await store(1);
    const version = await learner.publish(snapshot(1, ramp(25)));
    const bucket = await objects();
    const [shard] = (await bucket.list()).filter(({ name }) => name.startsWith("shard/"));
    await bucket.put(shard!.name, bytesOf(ramp(10, 7)));
    await expect(learner.fetch(version)).rejects.toMatchObject({ code: "POLICY_CORRUPT" });

    const other = await store(0, { configDigest: "d".repeat(64) });
    await expect(other.fetch(version)).rejects.toMatchObject({ code: "POLICY_CONFIG_MISMATCH" });

    await bucket.put(`manifest/1/${version.number}-${version.digest}`, new Uint8Array([255, 255, 255]));
    await expect(learner.fetch(version)).rejects.toMatchObject({ code: "POLICY_CORRUPT" });
  });

  it("sends an unchanged shard once", async () => {
    const learner = await store(1);
    const first = ramp(25);
    const second = first.slice();
    second[24] = 99; // the last of three shards
    await learner.publish(snapshot(1, first));
    await learner.publish(snapshot(2, second));
    const shards = (await (await objects()).list()).filter(({ name }) => name.startsWith("shard/"));
    expect(shards).toHaveLength(4);
  });

  it("W1: goes on with a publication that broke in the middle: what is stored is not sent again", async () => {
    const wire = watchedObjects();
    const learner = await store(1, { bus: wire.bus });
    wire.failAt = 2;
    await expect(learner.publish(snapshot(1, ramp(45)))).rejects.toThrow("torn");
    expect(await learner.current()).toBeUndefined();
    wire.sent.splice(0);
    await learner.publish(snapshot(1, ramp(45)));
    // Five shards, of which two were there.
    expect(wire.sent.filter((name) => name.startsWith("shard/"))).toHaveLength(3);
  });

  it("W2: an actor goes on with a transfer that broke in the middle, and asks for no shard that it has", async () => {
    const wire = watchedObjects();
    const [learner, actor] = [await store(1), await store(0, { bus: wire.bus })];
    const shards = (): string[] => wire.read.splice(0).filter((name) => name.startsWith("shard/"));
    const first = ramp(45);
    const version = await learner.publish(snapshot(1, first));
    // The manifest is read first.
    wire.failAt = 3;
    await expect(actor.fetch(version)).rejects.toThrow("torn");
    expect(shards()).toHaveLength(3);
    const fetched = await actor.fetch(version);
    expect([...fetched]).toEqual([...first]);
    expect(shards()).toHaveLength(3);
    const second = first.slice();
    second[44] = 99; // the last of five shards
    const next = await actor.fetch(await learner.publish(snapshot(2, second)));
    expect([...next]).toEqual([...second]);
    expect(next.buffer).not.toBe(fetched.buffer);
    expect(shards()).toHaveLength(1);
  });

  it("W2: what an actor has is verified again: it asks for all of it where that was written to", async () => {
    const wire = watchedObjects();
    const [learner, actor] = [await store(1), await store(0, { bus: wire.bus })];
    const fetched = await actor.fetch(await learner.publish(snapshot(1, ramp(25))));
    fetched[0] = -1;
    const second = ramp(25);
    second[24] = 99;
    const version = await learner.publish(snapshot(2, second));
    wire.read.splice(0);
    expect([...(await actor.fetch(version))]).toEqual([...second]);
    // The one that changed, and then all three.
    expect(wire.read.filter((name) => name.startsWith("shard/"))).toHaveLength(4);
  });

  it("publishing the same version again changes nothing; a lower number is refused", async () => {
    const learner = await store(1);
    const first = await learner.publish(snapshot(1, ramp(5)));
    const before = await learner.current();
    expect(await learner.publish(snapshot(1, ramp(5)))).toEqual(first);
    expect(await learner.current()).toEqual(before);
    await expect(learner.publish(snapshot(1, ramp(6)))).rejects.toMatchObject({
      code: "POLICY_ORDER_REFUSED",
    });
  });

  it("F1: a superseded learner publishes nothing and deletes nothing", async () => {
    const old = await store(1);
    const successor = await store(2);
    const abandoned = await old.publish(snapshot(7, ramp(5)));
    const resumed = await successor.publish(snapshot(5, ramp(5)));
    await expect(old.publish(snapshot(8, ramp(6)))).rejects.toMatchObject({ code: "POLICY_FENCED" });
    await expect(old.retain([])).rejects.toMatchObject({ code: "POLICY_FENCED" });
    expect(await successor.current()).toEqual({ current: resumed, held: [resumed], incarnation: 2 });
    // Above the checkpoint and not announced again: dropped.
    await expect(successor.fetch(abandoned)).rejects.toMatchObject({ code: "POLICY_MISSING" });
    expect((await successor.fetch(resumed)).length).toBe(5);
  });

  it("T3: retain keeps what is listed and the current version, and frees the rest", async () => {
    const learner = await store(1);
    const versions = [];
    for (const number of [1, 2, 3, 4])
      versions.push(await learner.publish(snapshot(number, ramp(15, number))));
    const [first, second, third, fourth] = versions;
    await learner.retain([second!]);
    expect((await learner.current())?.held).toEqual([second, fourth]);
    expect([...(await learner.fetch(second!))]).toEqual([...ramp(15, 2)]);
    for (const gone of [first!, third!])
      await expect(learner.fetch(gone)).rejects.toMatchObject({ code: "POLICY_MISSING" });
    const names = (await (await objects()).list()).map(({ name }) => name);
    expect(names.filter((name) => name.startsWith("manifest/"))).toHaveLength(2);
    expect(names.filter((name) => name.startsWith("shard/"))).toHaveLength(4);
  });

  it("Q1: a full store refuses a version and stays as it was", async () => {
    const learner = await store(1, { maxBytes: 2_000 });
    const version = await learner.publish(snapshot(1, ramp(5)));
    await expect(learner.publish(snapshot(2, ramp(1_000)))).rejects.toMatchObject({ code: "BUS_STORE_FULL" });
    expect((await learner.current())?.current).toEqual(version);
  });
});
