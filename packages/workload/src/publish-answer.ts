/** How actors and reward workers end an item of work: its answer is stored on the bus, under a span of the item's trace. */
import type { Stream } from "@oarlock/bus";
import { currentTrace, retry } from "@oarlock/runtime";
import type { Tracer } from "@oarlock/runtime";
import { sendTraced } from "@oarlock/telemetry";
import type { Destination } from "@oarlock/telemetry";

const PUBLISH_TIMEOUT_MS = 30_000;

export interface AnswerPlace {
  readonly stream: Pick<Stream, "publish">;
  readonly subject: string;
  readonly tracer: Tracer;
  /** What spans call the subject. */
  readonly destination: Destination;
}

export interface Answer {
  /** Of the item, for messages to people. */
  readonly id: string;
  /** The bus keeps one message of an id. */
  readonly messageId: string | undefined;
  readonly data: Uint8Array;
}

/** Resolves when the answer is stored. */
export async function publishAnswer(
  { stream, subject, tracer, destination }: AnswerPlace,
  { id, messageId, data }: Answer,
  signal: AbortSignal,
): Promise<void> {
  const sending = { destination, messageId, bytes: data.byteLength, parent: currentTrace() };
  await sendTraced(tracer, sending, (headers) =>
    // A full stream is the learner's way to say wait (Q1): making the answer all again would not help.
    retry(
      `${subject} to store ${id}`,
      () =>
        stream.publish(subject, data, { headers, ...(messageId === undefined ? {} : { msgId: messageId }) }),
      { timeoutMs: PUBLISH_TIMEOUT_MS, signal },
    ),
  );
}
