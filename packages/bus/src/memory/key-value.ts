/** A key-value bucket of the memory driver: one revision counter, compare-and-set, watchers that see the newest value. */
import { OarlockError } from "@oarlock/errors";
import { checkKey, checkLimit, checkName } from "../names.ts";
import type { KeyValue, KvConfig, KvEntry } from "../types.ts";

/** What a bucket needs of its bus. */
export interface BucketHost {
  checkOpen(): void;
}

interface Watcher {
  readonly key: string;
  latest: KvEntry | undefined;
  wake: () => void;
}

const MAX_VALUE_BYTES = 65_536;
const MAX_KEYS = 4_096;

export class MemoryKeyValue implements KeyValue {
  readonly config: KvConfig;
  readonly #host: BucketHost;
  readonly #entries = new Map<string, KvEntry>();
  readonly #watchers = new Set<Watcher>();
  #revision = 0;
  #closed = false;

  constructor(config: KvConfig, host: BucketHost) {
    checkName("bucket", config.name);
    checkLimit(`maxKeys of ${config.name}`, config.maxKeys ?? MAX_KEYS);
    checkLimit(`maxValueBytes of ${config.name}`, config.maxValueBytes ?? MAX_VALUE_BYTES);
    this.config = config;
    this.#host = host;
  }

  async get(key: string): Promise<KvEntry | undefined> {
    this.#check(key);
    return this.#entries.get(key);
  }

  async put(key: string, value: Uint8Array): Promise<number> {
    this.#check(key);
    return this.#set(key, value);
  }

  async create(key: string, value: Uint8Array): Promise<number> {
    return this.#compareAndSet(key, value, 0);
  }

  async update(key: string, value: Uint8Array, revision: number): Promise<number> {
    return this.#compareAndSet(key, value, revision);
  }

  async delete(key: string): Promise<void> {
    this.#check(key);
    if (!this.#entries.delete(key)) return;
    this.#tell({ key, value: new Uint8Array(), revision: ++this.#revision, deleted: true });
  }

  async keys(): Promise<string[]> {
    this.#host.checkOpen();
    return [...this.#entries.keys()].sort();
  }

  async *watch(key: string, options: { readonly signal?: AbortSignal } = {}): AsyncGenerator<KvEntry, void> {
    this.#check(key);
    const { signal } = options;
    const watcher: Watcher = { key, latest: this.#entries.get(key), wake: () => undefined };
    this.#watchers.add(watcher);
    const onAbort = (): void => watcher.wake();
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      while (!this.#closed && signal?.aborted !== true) {
        const entry = watcher.latest;
        watcher.latest = undefined;
        if (entry === undefined) await new Promise<void>((resolve) => (watcher.wake = resolve));
        else yield entry;
      }
    } finally {
      signal?.removeEventListener("abort", onAbort);
      this.#watchers.delete(watcher);
    }
  }

  /** Ends all watchers. */
  close(): void {
    this.#closed = true;
    for (const watcher of this.#watchers) watcher.wake();
  }

  #check(key: string): void {
    this.#host.checkOpen();
    checkKey(key);
  }

  #compareAndSet(key: string, value: Uint8Array, revision: number): number {
    this.#check(key);
    const actual = this.#entries.get(key)?.revision ?? 0;
    if (actual === revision) return this.#set(key, value);
    const message = `${this.config.name}/${key} is at revision ${actual}, not ${revision}`;
    throw new OarlockError("BUS_REVISION_MISMATCH", message, { retryable: true });
  }

  #set(key: string, value: Uint8Array): number {
    const { name, maxValueBytes = MAX_VALUE_BYTES, maxKeys = MAX_KEYS } = this.config;
    if (value.byteLength > maxValueBytes) {
      throw new OarlockError(
        "BUS_PAYLOAD_TOO_LARGE",
        `${name}/${key}: ${value.byteLength} bytes; at most ${maxValueBytes}`,
      );
    }
    if (!this.#entries.has(key) && this.#entries.size >= maxKeys) {
      throw new OarlockError("BUS_STORE_FULL", `${name} holds ${maxKeys} keys already`);
    }
    const entry = { key, value: new Uint8Array(value), revision: ++this.#revision, deleted: false };
    this.#entries.set(key, entry);
    this.#tell(entry);
    return entry.revision;
  }

  #tell(entry: KvEntry): void {
    for (const watcher of this.#watchers) {
      if (watcher.key !== entry.key) continue;
      watcher.latest = entry;
      watcher.wake();
    }
  }
}
