/** The bus over a NATS server with JetStream: opens streams and buckets by name, and removes all that a run left there. */
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
import { subjects } from "../subjects.ts";
import { API, apiCode } from "./broker.ts";
import type { Broker } from "./broker.ts";
import { openKeyValue } from "./key-value.ts";
import { findObjectStore, openObjectStore } from "./object-store.ts";
import { openStream } from "./stream.ts";

/** Room for headers beside the data of a message. */
const HEADER_BYTES = 16 * 1024;

export class JetStreamBus implements Bus {
  readonly driver = "jetstream";
  readonly #broker: Broker;
  readonly #streams = new Map<string, Stream>();

  constructor(broker: Broker) {
    this.#broker = broker;
  }

  get maxPayloadBytes(): number {
    return Math.max(0, this.#broker.maxPayloadBytes - HEADER_BYTES);
  }

  async stream(config: StreamConfig): Promise<Stream> {
    this.#broker.checkOpen();
    const stream = await openStream(this.#broker, config, {
      maxPayloadBytes: this.maxPayloadBytes,
      removed: () => void this.#streams.delete(config.name),
    });
    this.#streams.set(config.name, stream);
    return stream;
  }

  async kv(config: KvConfig): Promise<KeyValue> {
    this.#broker.checkOpen();
    return openKeyValue(this.#broker, config);
  }

  async objects(config: ObjectStoreConfig): Promise<ObjectStore> {
    this.#broker.checkOpen();
    return openObjectStore(this.#broker, config);
  }

  async findObjects(name: string): Promise<ObjectStore | undefined> {
    this.#broker.checkOpen();
    return findObjectStore(this.#broker, name);
  }

  async info(): Promise<readonly StreamInfo[]> {
    this.#broker.checkOpen();
    return Promise.all([...this.#streams.values()].map((stream) => stream.info()));
  }

  async removeRun(uid: string): Promise<void> {
    const broker = this.#broker;
    const { manager } = broker.parts;
    const ofRun = new RegExp(`^(KV_|OBJ_)?OARLOCK_${subjects(uid).uid}_`);
    const names = await broker.call("list its streams", async () => {
      const listed: string[] = [];
      for await (const name of manager.streams.names()) listed.push(name);
      return listed;
    });
    for (const name of names.filter((candidate) => ofRun.test(candidate))) {
      await broker.call(`delete ${name}`, async () => {
        await manager.streams.delete(name).catch((reason: unknown) => {
          if (apiCode(reason) !== API.streamNotFound) throw reason;
        });
      });
      this.#streams.delete(name);
    }
  }

  close(): Promise<void> {
    return this.#broker.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
