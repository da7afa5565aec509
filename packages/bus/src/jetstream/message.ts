/** One delivery and its answers. Everything about it is in the subject that its answers go to. */
import { OarlockError } from "@oarlock/errors";
import { nanos } from "@nats-io/transport-node";
import type { Msg } from "@nats-io/transport-node";
import type { Headers, Message, ParkedMessage } from "../types.ts";
import type { Broker } from "./broker.ts";

interface Delivery {
  readonly deliveryCount: number;
  readonly sequence: number;
  readonly publishedAtMs: number;
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

/** A delivered message. */
export function createMessage(
  broker: Broker,
  raw: Msg,
  park: (message: ParkedMessage) => Promise<void>,
): Message {
  const reply = raw.reply ?? "";
  const delivery = readDelivery(reply);
  const { subject, data } = raw;
  const headers = readHeaders(raw);
  const { connection, requestTimeoutMs } = broker.parts;
  let answered: Promise<void> | undefined;
  const answer = (name: string, payload: string): Promise<void> =>
    broker.call(`${name} message ${delivery.sequence} on ${subject}`, async () => {
      await connection.request(reply, payload, { timeout: requestTimeoutMs });
    });
  const settle = (say: () => Promise<void>): Promise<void> => {
    broker.checkOpen();
    answered ??= say().catch((reason: unknown) => {
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
    ack: async () => settle(() => answer("acknowledge", "+ACK")),
    term: async (reason) =>
      settle(async () => {
        await park({ sequence: delivery.sequence, subject, reason, headers });
        await answer("end", `+TERM ${reason.replaceAll(/\s+/g, " ").slice(0, 200)}`);
      }),
    nak: async (delayMs = 0) => {
      if (answered !== undefined) return;
      await answer("return", delayMs > 0 ? `-NAK ${JSON.stringify({ delay: nanos(delayMs) })}` : "-NAK");
    },
    working: async () => {
      broker.checkOpen();
      // Sent and forgotten: the next one follows before the ack wait is over.
      if (answered === undefined) connection.publish(reply, "+WPI");
    },
  };
}

/** The publisher's headers; the server's own begin with "Nats-". */
function readHeaders({ headers }: Msg): Headers {
  if (headers === undefined) return {};
  const own = headers.keys().filter((name) => !name.startsWith("Nats-"));
  return Object.freeze(Object.fromEntries(own.map((name) => [name, headers.get(name)])));
}
