import { silentTracer, type Span, type SpanOptions, type Tracer } from "@oarlock/runtime";
import { describe, expect, it } from "vitest";
import { deliveryOf, queueSeconds, sendTraced, startProcessing } from "./index.ts";
import type { Destination } from "./index.ts";

const destination: Destination = {
  driver: "jetstream",
  runUid: "run-1",
  subject: "oarlock.run-1.work.rollout",
  stream: "OARLOCK_run-1_WORK",
  consumer: "actors",
};
const root = { traceId: "a".repeat(32), spanId: "b".repeat(16), flags: 1 };
const sender = `00-${root.traceId}-${"c".repeat(16)}-01`;

/** Keeps what was started, and when it ended. */
function keeping(): { tracer: Tracer; spans: (SpanOptions & { endMs?: number | undefined })[] } {
  const spans: (SpanOptions & { endMs?: number | undefined })[] = [];
  const startSpan = (options: SpanOptions): Span => {
    const kept: SpanOptions & { endMs?: number | undefined } = { ...options };
    spans.push(kept);
    return { ...silentTracer.startSpan(options), end: (atMs) => void (kept.endMs = atMs) };
  };
  return { tracer: { startSpan }, spans };
}

const message = (publishedAtMs: number, headers: Record<string, string> = {}) =>
  deliveryOf({ headers, sequence: 9, deliveryCount: 3, publishedAtMs }, 1_000);

describe("a delivery", () => {
  it("has its time in the queue as a span, and is linked to its sender", () => {
    const { tracer, spans } = keeping();
    startProcessing(tracer, { destination, delivery: message(400, { traceparent: sender }), parent: root });
    expect(spans).toMatchObject([
      { name: "queue oarlock.{run}.work.rollout", parent: root, startMs: 400, endMs: 1_000 },
      {
        name: "process oarlock.{run}.work.rollout",
        kind: "consumer",
        parent: root,
        links: [{ context: { spanId: "c".repeat(16) } }],
        attributes: {
          "messaging.system": "nats",
          "messaging.consumer.group.name": "actors",
          "messaging.nats.redelivery_count": 2,
          "messaging.nats.stream_sequence": 9,
        },
      },
    ]);
  });

  it("from a clock that is ahead has waited for no time, never less", () => {
    const { tracer, spans } = keeping();
    startProcessing(tracer, { destination, delivery: message(5_000), parent: root });
    expect(spans[0]).toMatchObject({ startMs: 1_000, endMs: 1_000 });
    expect(queueSeconds(message(5_000))).toBe(0);
    expect(queueSeconds(message(250))).toBe(0.75);
  });

  it("without a trace, or with a header that is none, starts one of its own", () => {
    const { tracer, spans } = keeping();
    const delivery = message(400, { traceparent: "nonsense" });
    startProcessing(tracer, { destination, delivery, parent: undefined });
    expect(spans).toMatchObject([{ parent: "none", links: [] }]);
  });
});

describe("sendTraced", () => {
  it("gives the headers of its own span, and none where there is no trace", async () => {
    const { tracer } = keeping();
    const sending = { destination, messageId: "m", bytes: 3, parent: root };
    const headers = await sendTraced(tracer, sending, async (given) => given);
    expect(headers).toEqual({ traceparent: `00-${root.traceId}-${root.spanId}-01` });
    expect(await sendTraced(tracer, { ...sending, parent: undefined }, async (given) => given)).toEqual({});
  });
});
