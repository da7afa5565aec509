/**
 * One delivery and its answers. Everything about it is in the subject that its answers go to. A server that died may have
 * forgotten that it delivered a message, and then it says nothing to an answer: what is done is taken off a work queue by
 * its position, and what is handed back will be delivered anyway.
 */
import { OarlockError } from "@oarlock/errors";
import { nanos } from "@nats-io/transport-node";
import type { Msg } from "@nats-io/transport-node";
import type { Headers, Message, ParkedMessage, StreamConfig } from "../types.ts";
import { API, apiCode } from "./broker.ts";
import type { Broker } from "./broker.ts";
import { OVERSIZE_HEADER } from "./oversize.ts";

interface Delivery {
  readonly deliveryCount: number;
  readonly sequence: number;
  readonly publishedAtMs: number;
}

/** What the server says of a message that is not there (any more). */
const ABSENT: ReadonlySet<number> = new Set([API.noMessage, API.sequenceNotFound, API.streamNotFound]);

function isAbsent(reason: unknown): boolean {
  const code = apiCode(reason);
  // One code for every failure to delete; this one says that an earlier answer was heard, and only its confirmation lost.
  if (code === API.deleteFailed) return reason instanceof Error && /no message found/.test(reason.message);
  return ABSENT.has(code);
}

/** Parts after `$JS.ACK`: stream, consumer, deliveries, stream sequence, consumer sequence, time, pending. */
const SHORT_PARTS = 9;
/** With domain and account hash before the stream, and a random last part. */
const DOMAIN_PARTS = 2;

/** Reads the subject of a delivery's answers. */
export function readDelivery(reply: string): Delivery {
  const parts = reply.split(".");
  const offset = parts.length > SHORT_PARTS ? DOMAIN_PARTS : 0;
  const [deliveries, sequence, , timeNs] = parts.slice(4 + offset);
  const delivery = {
    deliveryCount: Number(deliveries),
    sequence: Number(sequence),
    publishedAtMs: Math.floor(Number(timeNs) / 1e6),
  };
  if (Number.isFinite(delivery.deliveryCount) && delivery.sequence > 0) return delivery;
  throw new OarlockError(
    "BUS_DELIVERY_MALFORMED",
    `a message with the reply subject ${JSON.stringify(reply)}`,
  );
}

/** A server that knows the delivery answers within milliseconds. */
const ANSWER_TIMEOUT_MS = 2_000;

/** What a message needs of its stream. */
export interface MessageHost {
  readonly stream: StreamConfig;
  readonly park: (message: ParkedMessage) => Promise<void>;
  readonly data: Uint8Array;
  /** What to do once the server has forgotten the message. */
  readonly answered?: () => Promise<void>;
}

/** A delivered message. */
export function createMessage(broker: Broker, raw: Msg, host: MessageHost): Message {
  const reply = raw.reply ?? "";
  const delivery = readDelivery(reply);
  const { subject } = raw;
  const { park, data } = host;
  const headers = readHeaders(raw);
  const { connection, manager } = broker.parts;
  const { name: stream, retention } = host.stream;
  let answered: Promise<void> | undefined;
  const say = async (payload: string): Promise<void> =>
    void (await connection.request(reply, payload, { timeout: ANSWER_TIMEOUT_MS }));
  const finish = (name: string, payload: string): Promise<void> =>
    broker.call(`${name} message ${delivery.sequence} on ${subject}`, async (attempt) => {
      if (attempt === 0 || retention !== "work-queue") return say(payload);
      await manager.streams.deleteMessage(stream, delivery.sequence, false).catch((reason: unknown) => {
        if (!isAbsent(reason)) throw reason;
      });
    });
  const settle = (end: () => Promise<void>): Promise<void> => {
    broker.checkOpen();
    const endAndClean = async (): Promise<void> => {
      await end();
      // What stays behind takes room, no more: it is removed with the run.
      await host.answered?.().catch(() => undefined);
    };
    answered ??= endAndClean().catch((reason: unknown) => {
      answered = undefined; // the next call may be luckier
      throw reason;
    });
    return answered;
  };
  return {
    subject,
    data,
    headers,
    ...delivery,
    ack: async () => settle(() => finish("acknowledge", "+ACK")),
    term: async (reason) =>
      settle(async () => {
        const msgId = raw.headers?.get(MESSAGE_ID) ?? "";
        const parked = { sequence: delivery.sequence, subject, reason, headers };
        await park(msgId === "" ? parked : { ...parked, msgId });
        await finish("end", `+TERM ${reason.replaceAll(/\s+/g, " ").slice(0, 200)}`);
      }),
    nak: async (delayMs = 0) => {
      if (answered !== undefined) return;
      broker.checkOpen();
      const payload = delayMs > 0 ? `-NAK ${JSON.stringify({ delay: nanos(delayMs) })}` : "-NAK";
      // Where it is not heard, the message comes again after its ack wait.
      await say(payload).catch(() => undefined);
    },
    working: async () => {
      broker.checkOpen();
      // Sent and forgotten: the next one follows before the ack wait is over.
      if (answered === undefined) connection.publish(reply, "+WPI");
    },
  };
}

/** The server's header of the id that a message was published under. */
const MESSAGE_ID = "Nats-Msg-Id";

/** The publisher's headers, without the driver's and the server's own. */
function readHeaders({ headers }: Msg): Headers {
  if (headers === undefined) return {};
  const own = headers.keys().filter((name) => !name.startsWith("Nats-") && name !== OVERSIZE_HEADER);
  return Object.freeze(Object.fromEntries(own.map((name) => [name, headers.get(name)])));
}
