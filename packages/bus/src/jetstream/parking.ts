/**
 * Poison messages of a stream, kept with their reason in a small log stream beside it, made by the first of them. A record
 * is stored before the message is ended, so that none vanishes in between.
 */
import type { Headers, ParkedMessage } from "../types.ts";
import { DiscardPolicy, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { API, apiCode } from "./broker.ts";
import type { Broker } from "./broker.ts";
import { openServerStream } from "./stream-config.ts";

export interface Parking {
  readonly name: string;
  readonly park: (message: ParkedMessage) => Promise<void>;
  /** Newest last; none where nothing was ever parked. */
  list(): Promise<readonly ParkedMessage[]>;
}

/** Q1: the oldest are forgotten first. */
const MAX_PARKED = 256;
const MAX_BYTES = MAX_PARKED * 64 * 1024;
const MAX_REASON = 4_096;

/** The parking of the stream `of`. */
export function createParking(broker: Broker, of: string): Parking {
  const { client, manager, replicas, requestTimeoutMs } = broker.parts;
  const name = `${of}_PARKED`;
  const subject = `oarlock-parked.${of}`;
  return {
    name,
    async park({ sequence, reason, ...message }) {
      await openServerStream(broker, {
        name,
        subjects: [subject],
        retention: RetentionPolicy.Limits,
        discard: DiscardPolicy.Old,
        max_msgs: MAX_PARKED,
        max_bytes: MAX_BYTES,
        storage: StorageType.File,
        num_replicas: replicas,
      });
      const record = { sequence, ...message, reason: reason.slice(0, MAX_REASON) };
      // Two readers may hold one message: its place in the stream is its identity here.
      const settings = { msgID: String(sequence), timeout: requestTimeoutMs };
      await broker.call(`park message ${sequence} of ${of}`, () =>
        client.publish(subject, JSON.stringify(record), settings),
      );
    },
    async list() {
      const state = await manager.streams.info(name).catch((reason: unknown) => {
        if (apiCode(reason) === API.streamNotFound) return undefined;
        throw reason;
      });
      if (state === undefined || state.state.messages === 0) return [];
      const records: ParkedMessage[] = [];
      for (let seq = state.state.first_seq; seq <= state.state.last_seq; seq++) {
        const stored = await manager.streams.getMessage(name, { seq });
        if (stored !== null) records.push(stored.json<ParkedMessage & { readonly headers: Headers }>());
      }
      return records;
    },
  };
}
