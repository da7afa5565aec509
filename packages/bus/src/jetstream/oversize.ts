/**
 * Data above the server's message limit: stored as an object in a bucket beside the stream, made by the first of it, and
 * fetched before the message is given to its reader. An object lives as long as its message.
 */
import { isOarlockError } from "@oarlock/errors";
import { nuid } from "@nats-io/transport-node";
import type { ObjectStore, StreamConfig } from "../types.ts";
import { API, apiCode } from "./broker.ts";
import type { Broker } from "./broker.ts";
import { findObjectStore, openObjectStore } from "./object-store.ts";

/** Header of a message whose data lies in the bucket. */
export const OVERSIZE_HEADER = "Oarlock-Object";

export interface Oversize {
  /** Stores data; gives the object's name. */
  put(data: Uint8Array, signal?: AbortSignal): Promise<string>;
  /** Undefined where it is gone: the message was answered by another reader meanwhile. */
  get(object: string): Promise<Uint8Array | undefined>;
  remove(object: string): Promise<void>;
  /** Names of all objects. */
  list(): Promise<string[]>;
  /** Removes the bucket with all that is in it. */
  delete(): Promise<void>;
}

/** The oversize data of one stream. */
export function createOversize(broker: Broker, stream: StreamConfig): Oversize {
  const name = `${stream.name}_OVERSIZE`;
  let opened: Promise<ObjectStore> | undefined;
  const bucket = (): Promise<ObjectStore> => {
    opened ??= openObjectStore(broker, { name, maxBytes: stream.maxBytes }).catch((reason: unknown) => {
      opened = undefined;
      throw reason;
    });
    return opened;
  };
  return {
    async put(data, signal) {
      const object = nuid.next();
      const put = async (): Promise<unknown> =>
        (await bucket()).put(object, data, signal === undefined ? {} : { signal });
      await put().catch((reason: unknown) => {
        if (!isGone(reason)) throw reason;
        // A purge has removed the bucket under us.
        opened = undefined;
        return put();
      });
      return object;
    },
    async get(object) {
      const parts: Uint8Array[] = [];
      try {
        for await (const part of (await bucket()).get(object)) parts.push(part);
      } catch (reason) {
        if (!isGone(reason) && !isOarlockError(reason, "BUS_OBJECT_MISSING")) throw reason;
        return undefined;
      }
      return Buffer.concat(parts);
    },
    async remove(object) {
      await (await bucket()).delete(object);
    },
    async list() {
      const found = await findObjectStore(broker, name);
      return ((await found?.list()) ?? []).map((object) => object.name);
    },
    async delete() {
      opened = undefined;
      await broker.call(`delete ${name}`, async () => {
        await broker.parts.manager.streams.delete(`OBJ_${name}`).catch((reason: unknown) => {
          if (apiCode(reason) !== API.streamNotFound) throw reason;
        });
      });
    },
  };
}

/** Whether the bucket itself is not there. */
function isGone(reason: unknown): boolean {
  return isOarlockError(reason, "BUS_STREAM_GONE") || apiCode(reason) === API.streamNotFound;
}
