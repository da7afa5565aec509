/**
 * An object bucket on the server, in the layout of the NATS object store, so that its tools read it. Content is verified
 * before it becomes visible (W1) and while it is read; chunks travel one at a time in both directions, each with the
 * driver's patience, so that a server that restarts costs one chunk, never the whole.
 */
import { OarlockError } from "@oarlock/errors";
import { createHasher } from "@oarlock/runtime";
import { DiscardPolicy, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { Base64UrlPaddedCodec, Objm } from "@nats-io/obj";
import type { ObjectInfo as ServerObject, ObjectStore as ServerStore } from "@nats-io/obj";
import { headers, nuid } from "@nats-io/transport-node";
import { checkLimit, checkName, checkObjectName } from "../names.ts";
import type {
  ObjectGetOptions,
  ObjectInfo,
  ObjectPutOptions,
  ObjectStore,
  ObjectStoreConfig,
} from "../types.ts";
import { API, apiCode } from "./broker.ts";
import type { Broker } from "./broker.ts";
import { openServerStream, subjectsOf } from "./stream-config.ts";

const CHUNK_BYTES = 1_000 * 1_024;
/** What the server keeps with each chunk. */
const OVERHEAD_BYTES = 512;
/** What it keeps of every object, and of those that were replaced a moment ago. */
const INDEX_BYTES = 1024 * 1024;
const DIGEST_PREFIX = "SHA-256=";
/** Of the broker's limit on a message, for its headers. */
const HEADER_BYTES = 1_024;
const ROLLUP = { name: "Nats-Rollup", value: "sub" } as const;

/** Opens a bucket, making it if it is new. */
export async function openObjectStore(broker: Broker, config: ObjectStoreConfig): Promise<ObjectStore> {
  const { name, maxBytes, chunkBytes = CHUNK_BYTES } = config;
  checkName("bucket", name);
  checkLimit(`maxBytes of ${name}`, maxBytes);
  checkLimit(`chunkBytes of ${name}`, chunkBytes);
  await openServerStream(broker, {
    name: streamOf(name),
    subjects: [`$O.${name}.C.>`, `$O.${name}.M.>`],
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.New,
    max_bytes: maxBytes + Math.ceil(maxBytes / chunkBytes) * OVERHEAD_BYTES + INDEX_BYTES,
    allow_rollup_hdrs: true,
    // Chunks never change, so any replica may give them.
    allow_direct: true,
    storage: StorageType.File,
    num_replicas: broker.parts.replicas,
  });
  const store = await broker.call(`open bucket ${name}`, () => new Objm(broker.parts.client).open(name));
  return new JetStreamObjectStore(broker, config, store);
}

/** Opens a bucket that is there; undefined where none is. */
export async function findObjectStore(broker: Broker, name: string): Promise<ObjectStore | undefined> {
  checkName("bucket", name);
  const { client, manager } = broker.parts;
  const found = await broker.call(`look for bucket ${name}`, () =>
    manager.streams.info(streamOf(name)).catch((reason: unknown) => {
      if (apiCode(reason) === API.streamNotFound) return undefined;
      throw reason;
    }),
  );
  if (found === undefined) return undefined;
  const store = await broker.call(`open bucket ${name}`, () => new Objm(client).open(name));
  return new JetStreamObjectStore(broker, { name, maxBytes: found.config.max_bytes }, store);
}

function streamOf(bucket: string): string {
  return `OBJ_${bucket}`;
}

type Content = Uint8Array | AsyncIterable<Uint8Array>;

class JetStreamObjectStore implements ObjectStore {
  readonly config: ObjectStoreConfig;
  readonly #broker: Broker;
  readonly #store: ServerStore;

  constructor(broker: Broker, config: ObjectStoreConfig, store: ServerStore) {
    this.#broker = broker;
    this.config = config;
    this.#store = store;
  }

  async put(name: string, content: Content, options: ObjectPutOptions = {}): Promise<ObjectInfo> {
    this.#broker.checkOpen();
    checkObjectName(name);
    const before = await this.#meta(name);
    const id = nuid.next();
    try {
      const info = await this.#putChunks(id, { name, content, options });
      await this.#putMeta(id, info);
      if (before !== undefined) await this.#purge(`C.${before.nuid}`);
      return info;
    } catch (reason) {
      // What nobody can see must not take room; where the server is away it is gone with the bucket at the latest.
      await this.#purge(`C.${id}`).catch(() => undefined);
      if (apiCode(reason) !== API.storeFailed) throw reason;
      throw new OarlockError("BUS_STORE_FULL", `${this.config.name} has no room for object ${name}`, {
        cause: reason,
      });
    }
  }

  async *get(name: string, options: ObjectGetOptions = {}): AsyncGenerator<Uint8Array, void> {
    checkObjectName(name);
    const meta = await this.#meta(name);
    if (meta === undefined)
      throw new OarlockError("BUS_OBJECT_MISSING", `no object ${name} in ${this.config.name}`);
    const info = infoOf(meta);
    if (options.digest !== undefined && options.digest !== info.digest) {
      throw corrupt(name, `was stored with SHA-256 ${info.digest}, not ${options.digest}`);
    }
    if (options.unverified === true) return yield* this.#chunks(meta, info, options);
    await using hasher = createHasher();
    let held: Uint8Array | undefined;
    for await (const chunk of this.#chunks(meta, info, options)) {
      await hasher.update(chunk);
      if (held !== undefined) yield held;
      held = chunk;
    }
    const digest = await hasher.finish();
    if (digest !== info.digest) throw corrupt(name, `has SHA-256 ${digest}, not ${info.digest}`);
    if (held !== undefined) yield held;
  }

  async info(name: string): Promise<ObjectInfo | undefined> {
    checkObjectName(name);
    const meta = await this.#meta(name);
    return meta === undefined ? undefined : infoOf(meta);
  }

  async delete(name: string): Promise<void> {
    checkObjectName(name);
    const meta = await this.#meta(name);
    // Not even its name stays: every policy version has a name of its own.
    await this.#purge(metaSubject(name));
    if (meta !== undefined) await this.#purge(`C.${meta.nuid}`);
  }

  async list(): Promise<ObjectInfo[]> {
    const prefix = `$O.${this.config.name}.M.`;
    const stream = streamOf(this.config.name);
    const stored = await subjectsOf(this.#broker, { stream, filter: `${prefix}>` });
    const names = stored.map((subject) => Buffer.from(subject.slice(prefix.length), "base64url").toString());
    const found = await Promise.all(names.map((name) => this.#meta(name)));
    return found.filter((meta) => meta !== undefined).map(infoOf);
  }

  async #meta(name: string): Promise<ServerObject | undefined> {
    const meta = await this.#broker.call(`describe object ${name}`, () => this.#store.info(name));
    return meta === null || meta.deleted ? undefined : meta;
  }

  /**
   * Asks for the next chunk before it gives one.
   *
   * @yields each chunk
   */
  async *#chunks(
    meta: ServerObject,
    { name, chunks }: ObjectInfo,
    { signal }: ObjectGetOptions,
  ): AsyncGenerator<Uint8Array, void> {
    let coming = chunks === 0 ? undefined : this.#chunk(meta, { name, after: 0 });
    for (let left = chunks - 1; coming !== undefined; left--) {
      signal?.throwIfAborted();
      const { seq, data } = await coming;
      coming = left <= 0 ? undefined : this.#chunk(meta, { name, after: seq });
      // Heard of when its turn comes, if it does.
      coming?.catch(() => undefined);
      yield data;
    }
  }

  /** The first chunk of an object behind a position in the bucket's stream. */
  #chunk(
    { nuid }: ServerObject,
    at: { readonly name: string; readonly after: number },
  ): Promise<{ readonly seq: number; readonly data: Uint8Array }> {
    const { manager } = this.#broker.parts;
    const { name: bucket } = this.config;
    const wanted = { next_by_subj: `$O.${bucket}.C.${nuid}`, seq: at.after + 1 };
    return this.#broker.call(`give a chunk of object ${at.name}`, async () => {
      const chunk = await manager.direct.getMessage(streamOf(bucket), wanted);
      // Deleted or replaced while it was read.
      if (chunk === null) throw corrupt(at.name, "lost a chunk while it was read");
      return chunk;
    });
  }

  async #putChunks(
    id: string,
    of: { readonly name: string; readonly content: Content; readonly options: ObjectPutOptions },
  ): Promise<ObjectInfo> {
    const { client, requestTimeoutMs: timeout } = this.#broker.parts;
    const { name, content, options } = of;
    await using hasher = options.hashed === true ? undefined : createHasher();
    const subject = `$O.${this.config.name}.C.${id}`;
    let [bytes, chunks] = [0, 0];
    for await (const chunk of this.#chunked(name, content)) {
      options.signal?.throwIfAborted();
      const msgID = `${id}/${chunks}`;
      await Promise.all([
        this.#broker.call(
          `store chunk ${chunks} of object ${name}`,
          () => client.publish(subject, chunk, { msgID, timeout }),
          { signal: options.signal, stream: streamOf(this.config.name) },
        ),
        hasher?.update(chunk),
      ]);
      bytes += chunk.byteLength;
      chunks++;
    }
    const digest = (await hasher?.finish()) ?? options.digest ?? "";
    if (options.digest === undefined || options.digest === digest) return { name, bytes, chunks, digest };
    const message = `object ${name} has SHA-256 ${digest}, not ${options.digest}`;
    throw new OarlockError("BUS_OBJECT_DIGEST_MISMATCH", message);
  }

  /** The message that makes an object visible; it replaces the one before it. */
  async #putMeta(id: string, { name, bytes, chunks, digest }: ObjectInfo): Promise<void> {
    const { client, requestTimeoutMs: timeout } = this.#broker.parts;
    const encoded = Buffer.from(digest, "hex").toString("base64").replaceAll("+", "-").replaceAll("/", "_");
    const meta = {
      name,
      bucket: this.config.name,
      nuid: id,
      size: bytes,
      chunks,
      digest: `${DIGEST_PREFIX}${encoded}`,
      mtime: new Date().toISOString(),
      deleted: false,
      options: { max_chunk_size: this.#chunkBytes },
    };
    const rollup = headers();
    rollup.set(ROLLUP.name, ROLLUP.value);
    const settings = { msgID: `${id}/meta`, timeout, headers: rollup };
    const subject = `$O.${this.config.name}.${metaSubject(name)}`;
    await this.#broker.call(
      `announce object ${name}`,
      () => client.publish(subject, JSON.stringify(meta), settings),
      { stream: streamOf(this.config.name) },
    );
  }

  async #purge(last: string): Promise<void> {
    const { manager } = this.#broker.parts;
    const filter = `$O.${this.config.name}.${last}`;
    await this.#broker.call(`purge ${filter}`, () =>
      manager.streams.purge(streamOf(this.config.name), { filter }),
    );
  }

  get #chunkBytes(): number {
    return Math.min(this.config.chunkBytes ?? CHUNK_BYTES, this.#broker.maxPayloadBytes - HEADER_BYTES);
  }

  /**
   * Cuts into chunks of one size, refusing what does not fit before it is sent (Q1). The server's own limit is the one that
   * holds whoever else writes; it is a little wider.
   *
   * @yields each chunk
   */
  async *#chunked(name: string, content: Content): AsyncGenerator<Uint8Array, void> {
    const { name: bucket, maxBytes } = this.config;
    const usedBytes = (await this.list()).reduce((sum, { bytes }) => sum + bytes, 0);
    let bytes = usedBytes;
    for await (const part of content instanceof Uint8Array ? [content] : content) {
      for (let offset = 0; offset < part.byteLength; offset += this.#chunkBytes) {
        const chunk = part.subarray(offset, offset + this.#chunkBytes);
        bytes += chunk.byteLength;
        if (bytes > maxBytes) {
          const message = `${bucket} holds ${usedBytes} of ${maxBytes} bytes; object ${name} does not fit`;
          throw new OarlockError("BUS_STORE_FULL", message);
        }
        yield chunk;
      }
    }
  }
}

/** Below the bucket's prefix. */
function metaSubject(name: string): string {
  return `M.${Base64UrlPaddedCodec.encode(name)}`;
}

function corrupt(name: string, what: string): OarlockError {
  return new OarlockError("BUS_OBJECT_CORRUPT", `object ${name} ${what}`);
}

function infoOf({ name, size, chunks, digest }: ServerObject): ObjectInfo {
  const encoded = digest.startsWith(DIGEST_PREFIX) ? digest.slice(DIGEST_PREFIX.length) : "";
  return { name, bytes: size, chunks, digest: Buffer.from(encoded, "base64url").toString("hex") };
}
