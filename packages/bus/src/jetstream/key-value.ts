/** A key-value bucket on the server: revisions are positions in its stream, compare-and-set is the server's (F1). */
import { OarlockError } from "@oarlock/errors";
import { DiscardPolicy, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import type { KV, KvEntry as ServerEntry } from "@nats-io/kv";
import { checkKey, checkLimit, checkName } from "../names.ts";
import type { KeyValue, KvConfig, KvEntry } from "../types.ts";
import { API, apiCode } from "./broker.ts";
import type { Broker } from "./broker.ts";
import { openServerStream, subjectsOf } from "./stream-config.ts";

const MAX_VALUE_BYTES = 65_536;
const MAX_KEYS = 4_096;

/** Opens a bucket, making it if it is new. */
export async function openKeyValue(broker: Broker, config: KvConfig): Promise<KeyValue> {
  const { name, maxKeys = MAX_KEYS, maxValueBytes = MAX_VALUE_BYTES } = config;
  checkName("bucket", name);
  checkLimit(`maxKeys of ${name}`, maxKeys);
  checkLimit(`maxValueBytes of ${name}`, maxValueBytes);
  await openServerStream(broker, {
    name: `KV_${name}`,
    subjects: [`$KV.${name}.>`],
    retention: RetentionPolicy.Limits,
    // Q1: a key that is there is replaced, one too many is refused.
    discard: DiscardPolicy.New,
    max_msgs: maxKeys,
    max_msgs_per_subject: 1,
    max_msg_size: maxValueBytes,
    allow_rollup_hdrs: true,
    deny_delete: true,
    // Reads ask the leader: a replica may be behind, and compare-and-set needs the newest.
    allow_direct: false,
    storage: StorageType.File,
    num_replicas: broker.parts.replicas,
  });
  const bucket = await broker.call(`open bucket ${name}`, () =>
    new Kvm(broker.parts.client).open(name, { allow_direct: false }),
  );
  return new JetStreamKeyValue(broker, config, bucket);
}

class JetStreamKeyValue implements KeyValue {
  readonly config: KvConfig;
  readonly #broker: Broker;
  readonly #bucket: KV;

  constructor(broker: Broker, config: KvConfig, bucket: KV) {
    this.#broker = broker;
    this.config = config;
    this.#bucket = bucket;
  }

  async get(key: string): Promise<KvEntry | undefined> {
    checkKey(key);
    const entry = await this.#call(`read ${key}`, () => this.#bucket.get(key));
    return entry === null || isDeleted(entry) ? undefined : entryOf(entry);
  }

  async put(key: string, value: Uint8Array): Promise<number> {
    this.#check(key, value);
    return this.#call(`write ${key}`, () => this.#bucket.put(key, value)).catch((reason: unknown) => {
      throw this.#writeError(reason);
    });
  }

  create(key: string, value: Uint8Array): Promise<number> {
    return this.#compareAndSet(key, value, () => this.#bucket.create(key, value));
  }

  update(key: string, value: Uint8Array, revision: number): Promise<number> {
    return this.#compareAndSet(key, value, () => this.#bucket.update(key, value, revision));
  }

  async delete(key: string): Promise<void> {
    checkKey(key);
    await this.#call(`delete ${key}`, () => this.#bucket.delete(key));
  }

  async keys(): Promise<string[]> {
    const prefix = `$KV.${this.config.name}.`;
    const stored = await subjectsOf(this.#broker, { stream: `KV_${this.config.name}`, filter: `${prefix}>` });
    const keys = stored.map((subject) => subject.slice(prefix.length)).sort();
    const entries = await Promise.all(keys.map((key) => this.get(key)));
    return keys.filter((_, index) => entries[index] !== undefined);
  }

  async *watch(key: string, options: { readonly signal?: AbortSignal } = {}): AsyncGenerator<KvEntry, void> {
    checkKey(key);
    this.#broker.checkOpen();
    const { signal } = options;
    const ended = (): boolean => this.#broker.closing.signal.aborted || signal?.aborted === true;
    if (ended()) return;
    let latest: KvEntry | undefined;
    let wake: () => void = () => undefined;
    const changes = await this.#call(`watch ${key}`, () => this.#bucket.watch({ key }));
    const onEnd = (): void => {
      changes.stop();
      wake();
    };
    signal?.addEventListener("abort", onEnd, { once: true });
    this.#broker.closing.signal.addEventListener("abort", onEnd, { once: true });
    let failure: unknown;
    const reading = (async () => {
      for await (const entry of changes) {
        latest = entryOf(entry);
        wake();
      }
    })().catch((reason: unknown) => (failure = reason));
    let over = false;
    void reading.then(() => {
      over = true;
      wake();
    });
    try {
      while (!ended()) {
        const entry = latest;
        latest = undefined;
        if (entry !== undefined) yield entry;
        else if (over) throw failure ?? new OarlockError("BUS_LOST", `the watch of ${key} ended`);
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      signal?.removeEventListener("abort", onEnd);
      this.#broker.closing.signal.removeEventListener("abort", onEnd);
      changes.stop();
    }
  }

  #call<T>(what: string, operation: (attempt: number) => Promise<T>): Promise<T> {
    return this.#broker.call(`${what} in ${this.config.name}`, operation);
  }

  #check(key: string, value: Uint8Array): void {
    this.#broker.checkOpen();
    checkKey(key);
    const { name, maxValueBytes = MAX_VALUE_BYTES } = this.config;
    if (value.byteLength <= maxValueBytes) return;
    throw new OarlockError(
      "BUS_PAYLOAD_TOO_LARGE",
      `${name}/${key}: ${value.byteLength} bytes; at most ${maxValueBytes}`,
    );
  }

  /** An attempt whose answer was lost may have won: then the value that is there is ours. */
  async #compareAndSet(key: string, value: Uint8Array, set: () => Promise<number>): Promise<number> {
    this.#check(key, value);
    let attempts = 0;
    try {
      return await this.#call(`compare and set ${key}`, (attempt) => {
        attempts = attempt + 1;
        return set();
      });
    } catch (reason) {
      if (attempts > 1 && apiCode(reason) === API.wrongLastSequence) {
        const entry = await this.get(key);
        if (entry !== undefined && Buffer.from(entry.value).equals(value)) return entry.revision;
      }
      throw this.#writeError(reason, key);
    }
  }

  #writeError(reason: unknown, key = ""): unknown {
    const { name, maxKeys = MAX_KEYS } = this.config;
    const code = apiCode(reason);
    if (code === API.wrongLastSequence) {
      return new OarlockError("BUS_REVISION_MISMATCH", `${name}/${key} is at another revision`, {
        cause: reason,
        retryable: true,
      });
    }
    if (code === API.storeFailed) {
      return new OarlockError("BUS_STORE_FULL", `${name} holds ${maxKeys} keys already`, { cause: reason });
    }
    return reason;
  }
}

function isDeleted(entry: ServerEntry): boolean {
  return entry.operation !== "PUT";
}

function entryOf(entry: ServerEntry): KvEntry {
  const { key, revision } = entry;
  return { key, revision, value: entry.value, deleted: isDeleted(entry) };
}
