/** A stream on the server: publishing with retries that store once, limits that push back, its consumers and its poison. */
import { isOarlockError, OarlockError } from "@oarlock/errors";
import { headers as newHeaders, nuid } from "@nats-io/transport-node";
import type { MsgHdrs } from "@nats-io/transport-node";
import { checkLimit, checkName, checkSubjectPattern } from "../names.ts";
import { subjectMatches } from "../subjects.ts";
import type {
  Consumer,
  ConsumerConfig,
  Headers,
  PublishAck,
  PublishOptions,
  Stream,
  StreamConfig,
  StreamInfo,
  StreamMark,
} from "../types.ts";
import { API, apiCode } from "./broker.ts";
import type { Broker } from "./broker.ts";
import { consumerInfo, openConsumer } from "./consumer.ts";
import { createOversize, OVERSIZE_HEADER } from "./oversize.ts";
import type { Oversize } from "./oversize.ts";
import { createParking } from "./parking.ts";
import type { Parking } from "./parking.ts";
import { openServerStream, serverConfig } from "./stream-config.ts";

/** What a stream needs of its bus. */
export interface StreamHost {
  readonly maxPayloadBytes: number;
  removed(): void;
}

/** Opens a stream, making it if it is new. */
export async function openStream(broker: Broker, config: StreamConfig, host: StreamHost): Promise<Stream> {
  checkName("stream", config.name);
  for (const subject of config.subjects) checkSubjectPattern(subject);
  checkLimit(`maxMessages of ${config.name}`, config.maxMessages);
  checkLimit(`maxBytes of ${config.name}`, config.maxBytes);
  await openServerStream(broker, serverConfig(config, broker.parts.replicas));
  return new JetStreamStream(broker, config, host);
}

class JetStreamStream implements Stream {
  readonly config: StreamConfig;
  readonly #broker: Broker;
  readonly #host: StreamHost;
  readonly #parking: Parking;
  readonly #oversize: Oversize;

  constructor(broker: Broker, config: StreamConfig, host: StreamHost) {
    this.#broker = broker;
    this.config = config;
    this.#host = host;
    this.#parking = createParking(broker, config.name);
    this.#oversize = createOversize(broker, config);
  }

  async publish(subject: string, data: Uint8Array, options: PublishOptions = {}): Promise<PublishAck> {
    options.signal?.throwIfAborted();
    this.#check(subject, data);
    if (data.byteLength <= this.#host.maxPayloadBytes) return this.#publish(subject, data, options);
    const object = await this.#oversize.put(data, options.signal);
    try {
      const headers = { ...options.headers, [OVERSIZE_HEADER]: object };
      const ack = await this.#publish(subject, new Uint8Array(), { ...options, headers });
      // A duplicate of an attempt of ours whose answer was lost names this very object.
      if (ack.duplicate && (await this.#besideOf(ack.sequence)) !== object)
        await this.#oversize.remove(object);
      return ack;
    } catch (reason) {
      // Where no answer came the message may be stored, and would lose its data.
      if (isRefused(reason)) await this.#oversize.remove(object).catch(() => undefined);
      throw reason;
    }
  }

  /** The object beside a stored message; undefined where the message is answered already. */
  async #besideOf(sequence: number): Promise<string | undefined> {
    const { manager } = this.#broker.parts;
    const { name } = this.config;
    const stored = await this.#broker.call(`give message ${sequence} of ${name}`, () =>
      manager.streams.getMessage(name, { seq: sequence }).catch((reason: unknown) => {
        if (apiCode(reason) !== API.noMessage) throw reason;
        return null;
      }),
    );
    return stored?.header.get(OVERSIZE_HEADER);
  }

  async #publish(subject: string, data: Uint8Array, options: PublishOptions): Promise<PublishAck> {
    const { client, requestTimeoutMs } = this.#broker.parts;
    const { name } = this.config;
    // A message without an id gets one, so that trying again after a lost answer never stores it twice.
    const msgID = options.msgId ?? nuid.next();
    const settings = {
      msgID,
      timeout: requestTimeoutMs,
      expect: { streamName: name },
      ...(options.headers === undefined ? {} : { headers: serverHeaders(options.headers) }),
    };
    try {
      const { seq, duplicate } = await this.#broker.call(
        `store a message on ${subject}`,
        () => client.publish(subject, data, settings),
        { signal: options.signal, stream: name },
      );
      return { sequence: seq, duplicate: options.msgId !== undefined && duplicate };
    } catch (reason) {
      throw this.#publishError(reason);
    }
  }

  async consumer(config: ConsumerConfig): Promise<Consumer> {
    this.#broker.checkOpen();
    return openConsumer(this.#broker, config, {
      stream: this.config,
      park: this.#parking.park,
      oversize: this.#oversize,
    });
  }

  async info(): Promise<StreamInfo> {
    const { manager } = this.#broker.parts;
    const { name } = this.config;
    return this.#broker.call(`describe ${name}`, async () => {
      const { state } = await manager.streams.info(name);
      const consumers: StreamInfo["consumers"][number][] = [];
      for await (const consumer of manager.consumers.list(name)) consumers.push(consumerInfo(consumer));
      const parked = await this.#parking.list();
      const { messages, bytes, last_seq: lastSequence, first_ts: firstAt } = state;
      const info = { name, messages, bytes, lastSequence, consumers, parked };
      return messages === 0 ? info : { ...info, oldestMs: Math.max(0, Date.now() - Date.parse(firstAt)) };
    });
  }

  async mark(): Promise<StreamMark> {
    const { manager } = this.#broker.parts;
    const { name } = this.config;
    const { state } = await this.#broker.call(`describe ${name}`, () => manager.streams.info(name));
    // In this order: the objects of all these messages are among those.
    return { sequence: state.last_seq, objects: await this.#oversize.list() };
  }

  async purge(upTo?: StreamMark): Promise<void> {
    const { manager } = this.#broker.parts;
    const { name } = this.config;
    const some = upTo === undefined ? undefined : { seq: upTo.sequence + 1 };
    await this.#broker.call(`purge ${name}`, () => manager.streams.purge(name, some));
    if (upTo === undefined) return this.#oversize.delete();
    for (const object of upTo.objects) await this.#oversize.remove(object);
  }

  async delete(): Promise<void> {
    const { manager } = this.#broker.parts;
    for (const name of [this.config.name, this.#parking.name]) {
      await this.#broker.call(`delete ${name}`, async () => {
        await manager.streams.delete(name).catch((reason: unknown) => {
          if (apiCode(reason) !== API.streamNotFound) throw reason;
        });
      });
    }
    await this.#oversize.delete();
    this.#host.removed();
  }

  #check(subject: string, data: Uint8Array): void {
    const { name, subjects } = this.config;
    if (!subjects.some((pattern) => subjectMatches(pattern, subject))) {
      throw new OarlockError(
        "BUS_SUBJECT_UNKNOWN",
        `stream ${name} stores ${subjects.join(", ")}, not ${subject}`,
      );
    }
    const { maxPayloadBytes } = this.#host;
    if (data.byteLength > maxPayloadBytes && this.config.oversize !== "store") {
      const message = `${data.byteLength} bytes for ${subject}; at most ${maxPayloadBytes}`;
      throw new OarlockError("BUS_PAYLOAD_TOO_LARGE", message);
    }
  }

  #publishError(reason: unknown): unknown {
    if (apiCode(reason) !== API.storeFailed || !(reason instanceof Error)) return reason;
    const { name } = this.config;
    const full = /maximum (messages|bytes) exceeded/.test(reason.message);
    return new OarlockError(
      full ? "BUS_STREAM_FULL" : "BUS_STORE_FAILED",
      `stream ${name} takes no message: ${reason.message}`,
      { cause: reason, retryable: true },
    );
  }
}

/** Whether the server itself said that it does not store a message. */
function isRefused(reason: unknown): boolean {
  return isOarlockError(reason, "BUS_STREAM_FULL") || isOarlockError(reason, "BUS_STORE_FAILED");
}

function serverHeaders(headers: Headers): MsgHdrs {
  const made = newHeaders();
  for (const [name, value] of Object.entries(headers)) made.set(name, value);
  return made;
}
