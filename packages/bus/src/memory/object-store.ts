/**
 * An object bucket of the memory driver. Chunks lie in shared memory, so that the hash worker reads them without a copy; an
 * object is visible only when it is complete and its digest is known.
 */
import { OarlockError } from "@oarlock/errors";
import { createHasher, sharedMemory } from "@oarlock/runtime";
import { checkLimit, checkName, checkObjectName } from "../names.ts";
import type {
  ObjectGetOptions,
  ObjectInfo,
  ObjectPutOptions,
  ObjectStore,
  ObjectStoreConfig,
} from "../types.ts";
import type { BucketHost } from "./key-value.ts";

const CHUNK_BYTES = 1_000 * 1_024;

interface StoredObject {
  readonly info: ObjectInfo;
  readonly chunks: readonly Uint8Array[];
}

export class MemoryObjectStore implements ObjectStore {
  readonly config: ObjectStoreConfig;
  readonly #host: BucketHost;
  readonly #objects = new Map<string, StoredObject>();
  /** Of complete objects and of those being written. */
  #bytes = 0;

  constructor(config: ObjectStoreConfig, host: BucketHost) {
    checkName("bucket", config.name);
    checkLimit(`maxBytes of ${config.name}`, config.maxBytes);
    checkLimit(`chunkBytes of ${config.name}`, config.chunkBytes ?? CHUNK_BYTES);
    this.config = config;
    this.#host = host;
  }

  async put(
    name: string,
    content: Uint8Array | AsyncIterable<Uint8Array>,
    options: ObjectPutOptions = {},
  ): Promise<ObjectInfo> {
    this.#host.checkOpen();
    checkObjectName(name);
    await using hasher = options.hashed === true ? undefined : createHasher();
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    try {
      for await (const chunk of this.#chunked(content)) {
        bytes += chunk.byteLength;
        options.signal?.throwIfAborted();
        chunks.push(chunk);
        await hasher?.update(chunk);
      }
      const digest = (await hasher?.finish()) ?? options.digest ?? "";
      if (options.digest !== undefined && options.digest !== digest) {
        throw new OarlockError(
          "BUS_OBJECT_DIGEST_MISMATCH",
          `object ${name} has SHA-256 ${digest}, not ${options.digest}`,
        );
      }
      const info: ObjectInfo = { name, bytes, chunks: chunks.length, digest };
      this.#remove(name);
      this.#objects.set(name, { info, chunks });
      return info;
    } catch (reason) {
      this.#bytes -= bytes;
      throw reason;
    }
  }

  async *get(name: string, options: ObjectGetOptions = {}): AsyncGenerator<Uint8Array, void> {
    this.#host.checkOpen();
    const stored = this.#objects.get(name);
    if (stored === undefined)
      throw new OarlockError("BUS_OBJECT_MISSING", `no object ${name} in ${this.config.name}`);
    if (options.digest !== undefined && options.digest !== stored.info.digest) {
      const message = `object ${name} was stored with SHA-256 ${stored.info.digest}, not ${options.digest}`;
      throw new OarlockError("BUS_OBJECT_CORRUPT", message);
    }
    if (options.unverified === true) return yield* stored.chunks;
    await using hasher = createHasher();
    const last = stored.chunks.length - 1;
    for (const [index, chunk] of stored.chunks.entries()) {
      options.signal?.throwIfAborted();
      await hasher.update(chunk);
      if (index < last) yield chunk;
    }
    const digest = await hasher.finish();
    if (digest !== stored.info.digest) {
      throw new OarlockError(
        "BUS_OBJECT_CORRUPT",
        `object ${name} has SHA-256 ${digest}, not ${stored.info.digest}`,
      );
    }
    const end = stored.chunks[last];
    if (end !== undefined) yield end;
  }

  async info(name: string): Promise<ObjectInfo | undefined> {
    this.#host.checkOpen();
    return this.#objects.get(name)?.info;
  }

  async delete(name: string): Promise<void> {
    this.#host.checkOpen();
    this.#remove(name);
  }

  async list(): Promise<ObjectInfo[]> {
    this.#host.checkOpen();
    return [...this.#objects.values()].map(({ info }) => info);
  }

  #remove(name: string): void {
    this.#bytes -= this.#objects.get(name)?.info.bytes ?? 0;
    this.#objects.delete(name);
  }

  /**
   * Copies into chunks, refusing what does not fit before it is copied (Q1).
   *
   * @yields each chunk
   */
  async *#chunked(content: Uint8Array | AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
    const { chunkBytes = CHUNK_BYTES } = this.config;
    for await (const part of content instanceof Uint8Array ? [content] : content) {
      for (let offset = 0; offset < part.byteLength; offset += chunkBytes) {
        const view = part.subarray(offset, offset + chunkBytes);
        this.#reserve(view.byteLength);
        const chunk = new Uint8Array(sharedMemory(view.byteLength));
        chunk.set(view);
        yield chunk;
      }
    }
  }

  #reserve(bytes: number): void {
    const { name, maxBytes } = this.config;
    if (this.#bytes + bytes > maxBytes) {
      throw new OarlockError(
        "BUS_STORE_FULL",
        `${name} holds ${this.#bytes} of ${maxBytes} bytes; ${bytes} more do not fit`,
      );
    }
    this.#bytes += bytes;
  }
}
