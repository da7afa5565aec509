/**
 * Policy versions over the bus. Objects are named by incarnation and content, so that what a superseded learner deletes is
 * never what its successor serves (F1), and a shard that did not change is not sent again. The pointer is one key, moved by
 * compare-and-set after everything else is stored and verified (W1).
 */
import { setImmediate as immediate } from "node:timers/promises";
import { isOarlockError, OarlockError, shortDigest } from "@oarlock/errors";
import { type Bus, type KeyValue, type ObjectStore, subjects } from "@oarlock/bus";
import {
  bytesOf,
  createHasher,
  reachMoment,
  Semaphore,
  sha256HexOffLoop,
  sharedMemory,
} from "@oarlock/runtime";
import {
  type CheckedManifest,
  corrupt,
  decodeManifest,
  decodePointer,
  encodeManifest,
  encodePointer,
  sameVersion,
  type Shard,
} from "./policy-manifest.ts";
import { createReceivedShards } from "./received-shards.ts";
import type { PolicyAnnouncement, PolicySnapshot, PolicyStore, PolicyVersion } from "./types.ts";

/** Which run, whose versions, how large. Every process of a run gives the same `maxBytes` and `configDigest`. */
export interface PolicyStoreOptions {
  readonly bus: Bus;
  readonly uid: string;
  /** Of the learner that publishes; 0 for readers. */
  readonly incarnation: number;
  /** SHA-256 of the model configuration; weights of another one are refused before they are fetched. */
  readonly configDigest: string;
  /** Bound on all stored versions together (Q1). */
  readonly maxBytes: number;
  /** Elements per shard. Default 4 Mi (16 MiB). */
  readonly shardElements?: number;
  /** Of the engine and plan (D1b). Default empty. */
  readonly fingerprintDigest?: string;
}

const SHARD_ELEMENTS = 4 * 1024 * 1024;
const MAX_MANIFEST_BYTES = 1024 * 1024;
/** Lost races with another writer of the pointer before it is called a fault. */
const MAX_RACES = 64;
const TURN_TIMEOUT_MS = 600_000;

/** Opens the policy store of a run, making its buckets if they are new. */
export async function openPolicyStore(options: PolicyStoreOptions): Promise<PolicyStore> {
  const names = subjects(options.uid);
  const objects = await options.bus.objects({ name: names.policyBucket, maxBytes: options.maxBytes });
  const state = await options.bus.kv({ name: names.stateBucket });
  return new BusPolicyStore(options, { objects, state, key: names.policyPointerKey });
}

interface Place {
  readonly objects: ObjectStore;
  readonly state: KeyValue;
  readonly key: string;
}

type Pointer = PolicyAnnouncement & { readonly revision: number };

class BusPolicyStore implements PolicyStore {
  readonly #options: PolicyStoreOptions;
  readonly #place: Place;
  /** Publishing and pruning take turns: pruning must not see shards whose manifest is still to come. */
  readonly #turn = new Semaphore("policy store", 1);
  readonly #received = createReceivedShards();

  constructor(options: PolicyStoreOptions, place: Place) {
    this.#options = options;
    this.#place = place;
  }

  publish(snapshot: PolicySnapshot, signal?: AbortSignal): Promise<PolicyVersion> {
    return this.#turn.run(this.#wait(signal), async () => {
      this.#refuseFenced(await this.#read());
      const { shards, digest } = await this.#storeShards(snapshot.weights, signal);
      if (snapshot.digest !== undefined && snapshot.digest !== digest) {
        const message = `policy ${snapshot.number} has SHA-256 ${digest}, announced was ${snapshot.digest}: its buffer was written to`;
        throw new OarlockError("POLICY_DIGEST_MISMATCH", message);
      }
      const version = { number: snapshot.number, digest };
      const { uid, incarnation, configDigest, fingerprintDigest = "" } = this.#options;
      const manifest = encodeManifest(snapshot, version, shards, {
        uid,
        incarnation,
        configDigest,
        fingerprintDigest,
      });
      await this.#place.objects.put(manifestName(incarnation, version), manifest, withSignal(signal));
      reachMoment("policy-stored");
      await this.#move((pointer) => announce(pointer, version, incarnation));
      return version;
    });
  }

  async fetch(
    version: PolicyVersion,
    signal?: AbortSignal,
    onFound?: Parameters<PolicyStore["fetch"]>[2],
  ): Promise<Float32Array<SharedArrayBuffer>> {
    const pointer = await this.#read();
    if (pointer === undefined || !pointer.held.some((held) => sameVersion(held, version))) {
      const held = pointer?.held.map(({ number }) => number).join(", ") ?? "";
      const message = `policy ${version.number} (${shortDigest(version.digest)}) is not announced; held: ${held || "none"}`;
      throw new OarlockError("POLICY_MISSING", message, { retryable: true });
    }
    const manifest = await this.#manifest(version, pointer.incarnation, signal);
    onFound?.({ trace: manifest.trace });
    return this.#receive(manifest, version, signal);
  }

  /** Asks for the shards that are not here yet, and verifies the whole. */
  async #receive(
    manifest: CheckedManifest,
    version: PolicyVersion,
    signal?: AbortSignal,
  ): Promise<Float32Array<SharedArrayBuffer>> {
    const bytes = manifest.elements * Float32Array.BYTES_PER_ELEMENT;
    const weights = new Float32Array(sharedMemory(bytes));
    const filled: Shard[] = [];
    let known = 0;
    await using whole = createHasher();
    // Hashed in order, while the next part is on its way.
    let hashed: Promise<void> = Promise.resolve();
    const hash = (part: Uint8Array): void => {
      hashed = hashed.then(() => whole.update(part));
      hashed.catch(() => undefined);
    };
    try {
      for (const shard of manifest.shards) {
        signal?.throwIfAborted();
        const target = weights.subarray(shard.offset, shard.offset + shard.elements);
        const here = this.#received.find(shard);
        if (here === undefined) await this.#fill(bytesOf(target), shard, { version, signal, hash });
        else {
          target.set(here);
          known++;
          hash(bytesOf(target));
          // P1: a copy is compute.
          await immediate();
        }
        filled.push(shard);
      }
    } catch (reason) {
      this.#received.broken(weights, filled);
      await hashed.catch(() => undefined);
      throw reason;
    }
    await hashed;
    const digest = await whole.finish();
    if (digest === version.digest) {
      this.#received.whole(weights, manifest.shards);
      return weights;
    }
    this.#received.forget();
    // Whoever took the version before may have written to it.
    if (known > 0) return await this.#receive(manifest, version, signal);
    throw corrupt(version, `its weights have SHA-256 ${digest}`);
  }

  async current(): Promise<PolicyAnnouncement | undefined> {
    const pointer = await this.#read();
    if (pointer === undefined) return undefined;
    const { current, held, incarnation } = pointer;
    return { current, held, incarnation };
  }

  async *watch(signal?: AbortSignal): AsyncGenerator<PolicyAnnouncement, void> {
    for await (const entry of this.#place.state.watch(this.#place.key, withSignal(signal))) {
      if (!entry.deleted) yield decodePointer(entry.value);
    }
  }

  retain(versions: readonly PolicyVersion[], signal?: AbortSignal): Promise<void> {
    return this.#turn.run(this.#wait(signal), async () => {
      const { incarnation } = this.#options;
      const stored = await this.#place.objects.list();
      const kept = await this.#move((pointer) => {
        const wanted = pointer?.held.filter(
          (held) => versions.some((version) => sameVersion(held, version)) || held === pointer.current,
        );
        return pointer === undefined || wanted === undefined ? undefined : { ...pointer, held: wanted };
      });
      if (kept === undefined || kept.incarnation !== incarnation) return;
      const needed = await this.#neededObjects(kept, signal);
      // Listed before the pointer moved, and never of a higher incarnation: a successor's objects are not among these.
      const garbage = stored.filter(({ name }) => incarnationOf(name) <= incarnation && !needed.has(name));
      for (const { name } of garbage) await this.#place.objects.delete(name);
    });
  }

  async #neededObjects(pointer: PolicyAnnouncement, signal?: AbortSignal): Promise<Set<string>> {
    const needed = new Set<string>();
    for (const version of pointer.held) {
      const { shards } = await this.#manifest(version, pointer.incarnation, signal);
      needed.add(manifestName(pointer.incarnation, version));
      for (const { object } of shards) needed.add(object);
    }
    return needed;
  }

  /**
   * W1: copies each shard once; its digest, the whole digest and what is stored are all of that copy. One shard after another,
   * so one buffer serves them all.
   */
  async #storeShards(
    weights: Float32Array,
    signal?: AbortSignal,
  ): Promise<{ shards: Shard[]; digest: string }> {
    if (weights.length === 0)
      throw new OarlockError("POLICY_EMPTY_REFUSED", "a policy of no weights is not published");
    const { shardElements = SHARD_ELEMENTS, incarnation } = this.#options;
    // Of one shard the whole is known with it.
    await using whole = weights.length > shardElements ? createHasher() : undefined;
    const shards: Shard[] = [];
    const buffer = new Float32Array(sharedMemory(4 * Math.min(shardElements, weights.length)));
    for (let offset = 0; offset < weights.length; offset += shardElements) {
      signal?.throwIfAborted();
      const part = weights.subarray(offset, offset + shardElements);
      const copy = buffer.subarray(0, part.length);
      copy.set(part);
      const bytes = bytesOf(copy);
      const [digest] = await Promise.all([sha256HexOffLoop(bytes, signal), whole?.update(bytes)]);
      const object = `shard/${incarnation}/${digest}`;
      if ((await this.#place.objects.info(object)) === undefined) {
        await this.#place.objects.put(object, bytes, { digest, hashed: true, ...withSignal(signal) });
      }
      shards.push({ object, offset, elements: part.length, digest });
    }
    return { shards, digest: (await whole?.finish()) ?? shards[0]?.digest ?? "" };
  }

  async #manifest(
    version: PolicyVersion,
    incarnation: number,
    signal?: AbortSignal,
  ): Promise<CheckedManifest> {
    const parts: Uint8Array[] = [];
    let bytes = 0;
    try {
      for await (const chunk of this.#place.objects.get(
        manifestName(incarnation, version),
        withSignal(signal),
      )) {
        bytes += chunk.byteLength;
        if (bytes > MAX_MANIFEST_BYTES)
          throw corrupt(version, `its manifest has more than ${MAX_MANIFEST_BYTES} bytes`);
        parts.push(chunk);
      }
    } catch (reason) {
      if (isOarlockError(reason, "BUS_OBJECT_MISSING")) {
        throw new OarlockError("POLICY_MISSING", `policy ${version.number} was pruned`, { retryable: true });
      }
      if (isOarlockError(reason, "BUS_OBJECT_CORRUPT"))
        throw corrupt(version, "its manifest is damaged", reason);
      throw reason;
    }
    return decodeManifest(Buffer.concat(parts), version, this.#options);
  }

  /** The bytes of a shard as they come; the whole is verified when it is there. */
  async #fill(target: Uint8Array, { object, digest }: Shard, of: Filling): Promise<void> {
    const { version, signal, hash } = of;
    let filled = 0;
    try {
      const options = { digest, unverified: true, ...withSignal(signal) };
      for await (const chunk of this.#place.objects.get(object, options)) {
        if (filled + chunk.byteLength > target.byteLength)
          throw corrupt(version, `${object} is longer than its manifest says`);
        target.set(chunk, filled);
        hash(target.subarray(filled, filled + chunk.byteLength));
        filled += chunk.byteLength;
      }
    } catch (reason) {
      if (isOarlockError(reason, "BUS_OBJECT_MISSING")) throw corrupt(version, `${object} is gone`, reason);
      if (isOarlockError(reason, "BUS_OBJECT_CORRUPT"))
        throw corrupt(version, `${object} is damaged`, reason);
      throw reason;
    }
    if (filled !== target.byteLength) throw corrupt(version, `${object} is shorter than its manifest says`);
  }

  async #read(): Promise<Pointer | undefined> {
    const entry = await this.#place.state.get(this.#place.key);
    return entry === undefined ? undefined : { ...decodePointer(entry.value), revision: entry.revision };
  }

  /** Compare-and-set until it holds; `next` gives undefined when there is nothing to do. */
  async #move(
    next: (pointer: PolicyAnnouncement | undefined) => PolicyAnnouncement | undefined,
  ): Promise<PolicyAnnouncement | undefined> {
    const { state, key } = this.#place;
    for (let race = 0; race < MAX_RACES; race++) {
      const pointer = await this.#read();
      this.#refuseFenced(pointer);
      const wanted = next(pointer);
      if (wanted === undefined) return pointer;
      try {
        if (pointer === undefined) await state.create(key, encodePointer(wanted));
        else await state.update(key, encodePointer(wanted), pointer.revision);
        return wanted;
      } catch (reason) {
        if (!isOarlockError(reason, "BUS_REVISION_MISMATCH")) throw reason;
      }
    }
    throw new OarlockError(
      "POLICY_POINTER_CONTENDED",
      `the policy pointer moved ${MAX_RACES} times under us`,
      { retryable: true },
    );
  }

  #refuseFenced(pointer: PolicyAnnouncement | undefined): void {
    const { incarnation } = this.#options;
    if (pointer === undefined || pointer.incarnation <= incarnation) return;
    const message = `incarnation ${incarnation} was superseded by ${pointer.incarnation}`;
    throw new OarlockError("POLICY_FENCED", message);
  }

  #wait(signal?: AbortSignal): { timeoutMs: number; signal?: AbortSignal } {
    return { timeoutMs: TURN_TIMEOUT_MS, ...withSignal(signal) };
  }
}

interface Filling {
  readonly version: PolicyVersion;
  readonly signal: AbortSignal | undefined;
  /** Hears of each part, in order. */
  readonly hash: (part: Uint8Array) => void;
}

/** The pointer after a publication; undefined when it says so already. */
function announce(
  pointer: PolicyAnnouncement | undefined,
  version: PolicyVersion,
  incarnation: number,
): PolicyAnnouncement | undefined {
  const held = pointer?.incarnation === incarnation ? pointer.held : [];
  if (held.some((other) => sameVersion(other, version))) return undefined;
  const newest = held.at(-1);
  if (newest !== undefined && version.number <= newest.number) {
    const message = `policy ${version.number} after ${newest.number}: numbers grow within an incarnation`;
    throw new OarlockError("POLICY_ORDER_REFUSED", message);
  }
  return { current: version, held: [...held, version], incarnation };
}

function manifestName(incarnation: number, version: PolicyVersion): string {
  return `manifest/${incarnation}/${version.number}-${version.digest}`;
}

function incarnationOf(objectName: string): number {
  return Number(objectName.split("/")[1]);
}

function withSignal(signal: AbortSignal | undefined): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}
