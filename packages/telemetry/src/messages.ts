/**
 * Spans of messages on the bus. A message's record carries the trace that it belongs to; its headers carry the span that
 * sent it, which receivers link to (semantic conventions: links are the default correlation). It knows no bus.
 */
import {
  type Attributes,
  type Span,
  type TraceContext,
  traced,
  traceHeaders,
  traceOfHeaders,
  type Tracer,
} from "@oarlock/runtime";
import { type Destination, destinationAttributes, destinationTemplate } from "./conventions.ts";

export interface Sending {
  readonly destination: Destination;
  readonly messageId: string | undefined;
  readonly bytes: number;
  /** The trace that the message belongs to. */
  readonly parent: TraceContext | undefined;
}

/** Sends by `publish` under a span; gives it the headers that carry the span. */
export function sendTraced<T>(
  tracer: Tracer,
  { destination, messageId, bytes, parent }: Sending,
  publish: (headers: Readonly<Record<string, string>>) => Promise<T>,
): Promise<T> {
  const options = {
    name: `send ${destinationTemplate(destination)}`,
    kind: "producer" as const,
    parent: parent ?? ("none" as const),
    attributes: {
      ...destinationAttributes(destination),
      "messaging.operation.name": "send",
      "messaging.operation.type": "send",
      "messaging.message.id": messageId,
      "messaging.message.body.size": bytes,
    },
  };
  if (parent === undefined) return publish({});
  return traced(tracer, options, ({ context }) =>
    publish(context === undefined ? {} : traceHeaders(context)),
  );
}

/** One delivery, as far as spans look: the fields of the bus's message, and when it came. */
export interface Delivery {
  readonly headers: Readonly<Record<string, string>>;
  readonly sequence: number;
  readonly deliveryCount: number;
  /** Unix time; of the sender's or the broker's clock. */
  readonly publishedAtMs: number;
  /** Unix time. */
  readonly receivedAtMs: number;
}

/** The delivery of a bus's message that came now. */
export function deliveryOf(message: Omit<Delivery, "receivedAtMs">, nowMs: number): Delivery {
  const { headers, sequence, deliveryCount, publishedAtMs } = message;
  return { headers, sequence, deliveryCount, publishedAtMs, receivedAtMs: nowMs };
}

/** Seconds between sending and receiving; never below 0, whatever the two clocks say. */
export function queueSeconds({ publishedAtMs, receivedAtMs }: Delivery): number {
  return Math.max(0, receivedAtMs - publishedAtMs) / 1000;
}

export interface Receiving {
  readonly destination: Destination;
  readonly delivery: Delivery;
  /** The trace that the message belongs to, from its record. */
  readonly parent: TraceContext | undefined;
  /** Default "process <destination>". */
  readonly name?: string;
  readonly attributes?: Attributes;
}

/** Records the time in the queue as a span of its own, and starts the span of the processing, linked to the sender's. */
export function startProcessing(tracer: Tracer, receiving: Receiving): Span {
  const { destination, delivery, attributes = {}, parent = "none" } = receiving;
  const { publishedAtMs, receivedAtMs, sequence, deliveryCount, headers } = delivery;
  const template = destinationTemplate(destination);
  const sender = traceOfHeaders(headers);
  if (parent !== "none") {
    const startMs = Math.min(publishedAtMs, receivedAtMs);
    tracer
      .startSpan({
        name: `queue ${template}`,
        parent,
        startMs,
        attributes: {
          ...destinationAttributes(destination),
          "messaging.nats.redelivery_count": deliveryCount - 1,
        },
      })
      .end(receivedAtMs);
  }
  return tracer.startSpan({
    name: receiving.name ?? `process ${template}`,
    kind: "consumer",
    parent,
    links:
      sender === undefined
        ? []
        : [{ context: sender, attributes: { "messaging.message.sequence": sequence } }],
    attributes: {
      ...destinationAttributes(destination),
      "messaging.operation.name": "process",
      "messaging.operation.type": "process",
      "messaging.nats.stream_sequence": sequence,
      "messaging.nats.redelivery_count": deliveryCount - 1,
      ...attributes,
    },
  });
}
