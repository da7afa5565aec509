/**
 * The bus of a single process: the embedded default on laptops and in unit tests. Nothing outlives the process; what must
 * (T2, T3) is in checkpoints, and lockstep work can be produced again.
 */
import { OarlockError } from "@oarlock/errors";
import { type Clock, processWaits, systemClock, type WaitRegistry } from "@oarlock/runtime";
import { subjectsOverlap } from "../subjects.ts";
import type {
  Bus,
  KeyValue,
  KvConfig,
  ObjectStore,
  ObjectStoreConfig,
  Stream,
  StreamConfig,
  StreamInfo,
} from "../types.ts";
import { MemoryKeyValue } from "./key-value.ts";
import { MemoryObjectStore } from "./object-store.ts";
import { MemoryStream } from "./stream.ts";

/** How the bus keeps time and how large a message may be. */
export interface MemoryBusOptions {
  /** For ack waits, delays and the duplicate window. */
  readonly clock?: Clock;
  /** Default 8 MiB, as the broker is configured. */
  readonly maxPayloadBytes?: number;
  readonly registry?: WaitRegistry;
}

const MAX_PAYLOAD_BYTES = 8 * 1024 * 1024;

/** A fresh, empty bus; every part of the process shares the one object. */
export function createMemoryBus(options: MemoryBusOptions = {}): Bus {
  return new MemoryBus(options);
}

class MemoryBus implements Bus {
  readonly driver = "memory";
  readonly maxPayloadBytes: number;
  readonly #clock: Clock;
  readonly #registry: WaitRegistry;
  readonly #streams = new Map<string, MemoryStream>();
  readonly #buckets = new Map<string, MemoryKeyValue>();
  readonly #stores = new Map<string, MemoryObjectStore>();
  #closed = false;

  constructor({
    clock = systemClock,
    maxPayloadBytes = MAX_PAYLOAD_BYTES,
    registry = processWaits,
  }: MemoryBusOptions) {
    this.maxPayloadBytes = maxPayloadBytes;
    this.#clock = clock;
    this.#registry = registry;
  }

  async stream(config: StreamConfig): Promise<Stream> {
    this.#checkOpen();
    return open(this.#streams, config, () => {
      this.#refuseSharedSubjects(config);
      return new MemoryStream(config, {
        clock: this.#clock,
        registry: this.#registry,
        maxPayloadBytes: this.maxPayloadBytes,
        checkOpen: () => this.#checkOpen(),
        removed: (stream) => void this.#streams.delete(stream.config.name),
      });
    });
  }

  async kv(config: KvConfig): Promise<KeyValue> {
    this.#checkOpen();
    return open(
      this.#buckets,
      config,
      () => new MemoryKeyValue(config, { checkOpen: () => this.#checkOpen() }),
    );
  }

  async objects(config: ObjectStoreConfig): Promise<ObjectStore> {
    this.#checkOpen();
    return open(
      this.#stores,
      config,
      () => new MemoryObjectStore(config, { checkOpen: () => this.#checkOpen() }),
    );
  }

  async findObjects(name: string): Promise<ObjectStore | undefined> {
    this.#checkOpen();
    return this.#stores.get(name);
  }

  async info(): Promise<readonly StreamInfo[]> {
    this.#checkOpen();
    return [...this.#streams.values()].map((stream) => stream.infoNow());
  }

  async removeRun(uid: string): Promise<void> {
    this.#checkOpen();
    const ofRun = (name: string): boolean => name.startsWith(`OARLOCK_${uid}_`);
    for (const [name, stream] of this.#streams) {
      if (!ofRun(name)) continue;
      stream.close();
      this.#streams.delete(name);
    }
    for (const [name, bucket] of this.#buckets) {
      if (!ofRun(name)) continue;
      bucket.close();
      this.#buckets.delete(name);
    }
    for (const name of this.#stores.keys()) if (ofRun(name)) this.#stores.delete(name);
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const stream of this.#streams.values()) stream.close();
    for (const bucket of this.#buckets.values()) bucket.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #checkOpen(): void {
    if (this.#closed) throw new OarlockError("BUS_CLOSED", "the bus is closed");
  }

  #refuseSharedSubjects(config: StreamConfig): void {
    for (const other of this.#streams.values()) {
      const shared = config.subjects.find((mine) =>
        other.config.subjects.some((its) => subjectsOverlap(mine, its)),
      );
      if (shared === undefined) continue;
      const message = `stream ${config.name}: ${shared} is stored by ${other.config.name} already`;
      throw new OarlockError("BUS_SUBJECT_TAKEN", message);
    }
  }
}

/** Opens by name: the same configuration gives the same thing, another one is refused. */
function open<T extends { readonly config: { readonly name: string } }>(
  known: Map<string, T>,
  config: T["config"],
  make: () => T,
): T {
  const existing = known.get(config.name);
  if (existing === undefined) {
    const made = make();
    known.set(config.name, made);
    return made;
  }
  if (canonical(existing.config) === canonical(config)) return existing;
  throw new OarlockError("BUS_CONFIG_MISMATCH", `${config.name} exists with another configuration`);
}

function canonical(config: object): string {
  return JSON.stringify(Object.entries(config).sort(([left], [right]) => (left < right ? -1 : 1)));
}
