/**
 * A durable pull consumer on the server. One pull asks for one message; a reader that gives up has its pull withdrawn, and
 * what arrives nevertheless is handed back, so that no message is out with nobody. Answers are requests: they count when
 * the server has confirmed them.
 */
import { OarlockError } from "@oarlock/errors";
import { AckPolicy, DeliverPolicy, ReplayPolicy } from "@nats-io/jetstream";
import type { ConsumerConfig as ServerConfig, ConsumerInfo as ServerInfo } from "@nats-io/jetstream";
import { nanos } from "@nats-io/transport-node";
import type { Msg } from "@nats-io/transport-node";
import { checkLimit, checkName } from "../names.ts";
import type {
  Consumer,
  ConsumerConfig,
  ConsumerInfo,
  Message,
  ParkedMessage,
  StreamConfig,
} from "../types.ts";
import { API, apiCode } from "./broker.ts";
import type { Broker } from "./broker.ts";
import { createMessage } from "./message.ts";
import { PullLine } from "./pull.ts";

/** What a consumer needs of its stream. */
export interface ConsumerHost {
  readonly stream: StreamConfig;
  readonly park: (message: ParkedMessage) => Promise<void>;
}

/** Pulls that may wait at the server, over all readers of a consumer. */
const MAX_WAITING = 4_096;
/** How long `messages` waits under one name before it asks again. */
const IDLE_MS = 30_000;

/** Numbers of a consumer. The server counts as redelivered those that are out for the second time or more. */
export function consumerInfo(info: ServerInfo): ConsumerInfo {
  return {
    name: info.name,
    pending: info.num_pending,
    ackPending: info.num_ack_pending,
    redelivered: info.num_redelivered,
  };
}

/** Opens a durable consumer, making it if it is new. */
export async function openConsumer(
  broker: Broker,
  config: ConsumerConfig,
  host: ConsumerHost,
): Promise<Consumer> {
  checkName("consumer", config.name);
  checkLimit(`maxAckPending of ${config.name}`, config.maxAckPending);
  checkLimit(`ackWaitMs of ${config.name}`, config.ackWaitMs);
  const stream = host.stream.name;
  const { manager } = broker.parts;
  const info = await broker.call(`open consumer ${stream}/${config.name}`, async () => {
    const existing = await manager.consumers.info(stream, config.name).catch((reason: unknown) => {
      if (apiCode(reason) === API.consumerNotFound) return undefined;
      throw reason;
    });
    return existing ?? create(broker, config, stream);
  });
  checkSame(info.config, config, stream);
  return new JetStreamConsumer(broker, config, host);
}

async function create(broker: Broker, config: ConsumerConfig, stream: string): Promise<ServerInfo> {
  try {
    return await broker.parts.manager.consumers.add(stream, {
      durable_name: config.name,
      ack_policy: AckPolicy.Explicit,
      deliver_policy: DeliverPolicy.All,
      replay_policy: ReplayPolicy.Instant,
      ack_wait: nanos(config.ackWaitMs),
      max_ack_pending: config.maxAckPending,
      // D1c: no count of deliveries ever drops a message.
      max_deliver: -1,
      max_waiting: MAX_WAITING,
      ...(config.filterSubject === undefined ? {} : { filter_subject: config.filterSubject }),
    });
  } catch (reason) {
    const code = apiCode(reason);
    if (code !== API.consumerNotUnique && code !== API.consumersUnfiltered) throw reason;
    throw new OarlockError(
      "BUS_CONSUMER_OVERLAP",
      `${stream}: consumer ${config.name} would share messages of a work queue with another one`,
    );
  }
}

function checkSame(actual: ServerConfig, wanted: ConsumerConfig, stream: string): void {
  const same =
    actual.ack_wait === nanos(wanted.ackWaitMs) &&
    actual.max_ack_pending === wanted.maxAckPending &&
    (actual.filter_subject ?? "") === (wanted.filterSubject ?? "");
  if (same) return;
  throw new OarlockError(
    "BUS_CONSUMER_MISMATCH",
    `${stream}/${wanted.name} exists with another configuration`,
  );
}

class JetStreamConsumer implements Consumer {
  readonly config: ConsumerConfig;
  readonly #broker: Broker;
  readonly #host: ConsumerHost;
  readonly #line: PullLine;
  #deleted = false;

  constructor(broker: Broker, config: ConsumerConfig, host: ConsumerHost) {
    this.#broker = broker;
    this.config = config;
    this.#host = host;
    this.#line = new PullLine(broker, { stream: host.stream.name, consumer: config.name });
  }

  async next(options: {
    readonly timeoutMs: number;
    readonly signal?: AbortSignal;
  }): Promise<Message | undefined> {
    this.#broker.checkOpen();
    if (this.#deleted) throw new OarlockError("BUS_CLOSED", `consumer ${this.config.name} is deleted`);
    options.signal?.throwIfAborted();
    const { registry } = this.#broker.parts;
    const leave = registry.enter(
      `a message on ${this.#host.stream.name}/${this.config.name}`,
      options.timeoutMs,
    );
    try {
      const message = await this.#line.next(options);
      return message === undefined ? undefined : this.#message(message);
    } finally {
      leave();
    }
  }

  async *messages(options: { readonly signal?: AbortSignal } = {}): AsyncGenerator<Message, void> {
    const stopped = (): boolean =>
      this.#broker.closing.signal.aborted || this.#deleted || options.signal?.aborted === true;
    while (!stopped()) {
      let message: Message | undefined;
      try {
        message = await this.next({ timeoutMs: IDLE_MS, ...options });
      } catch (reason) {
        if (stopped()) return;
        throw reason;
      }
      if (message === undefined) continue;
      if (stopped()) return message.nak(); // nobody will look at it: let another reader have it
      yield message;
    }
  }

  async info(): Promise<ConsumerInfo> {
    const { manager } = this.#broker.parts;
    const { name } = this.config;
    const stream = this.#host.stream.name;
    return consumerInfo(
      await this.#broker.call(`describe ${stream}/${name}`, () => manager.consumers.info(stream, name)),
    );
  }

  async delete(): Promise<void> {
    const { manager } = this.#broker.parts;
    const { name } = this.config;
    this.#deleted = true;
    await this.#broker.call(`delete consumer ${name}`, async () => {
      await manager.consumers.delete(this.#host.stream.name, name).catch((reason: unknown) => {
        if (apiCode(reason) !== API.consumerNotFound) throw reason;
      });
    });
  }

  #message(raw: Msg): Message {
    return createMessage(this.#broker, raw, this.#host.park);
  }
}
