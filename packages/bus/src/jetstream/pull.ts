/**
 * Pulling single messages. Each pull has an inbox of its own, which is used again once its pull is answered. A pull that is
 * given up is withdrawn by leaving its inbox; what the server had sent by then is handed back at once.
 */
import { OarlockError } from "@oarlock/errors";
import { abortReason, sleep } from "@oarlock/runtime";
import { createInbox, nanos } from "@nats-io/transport-node";
import type { Msg, Subscription } from "@nats-io/transport-node";
import { API, apiCode, lost } from "./broker.ts";
import type { Broker } from "./broker.ts";

interface Inbox {
  readonly subject: string;
  readonly subscription: Subscription;
  deliver: (message: Msg) => void;
}

/** How one pull ended. */
type Answer =
  | { readonly type: "message"; readonly message: Msg }
  /** Nothing came in its time. */
  | { readonly type: "empty" }
  /** The server cannot say: it restarts, its leader moves, or the answer was lost. */
  | { readonly type: "again"; readonly pauseMs: number }
  /** Nobody answers for this consumer. */
  | { readonly type: "absent" };

/** The longest single pull: a lost one costs no more than this. */
const PULL_MS = 5_000;
/** After a pull's own end, until it counts as lost. */
const LATE_MS = 1_000;
const PAUSE_MS = 200;

export class PullLine {
  readonly #broker: Broker;
  readonly #subject: string;
  readonly #of: { readonly stream: string; readonly consumer: string };
  readonly #idle: Inbox[] = [];

  constructor(broker: Broker, of: { readonly stream: string; readonly consumer: string }) {
    this.#broker = broker;
    this.#of = of;
    this.#subject = `$JS.API.CONSUMER.MSG.NEXT.${of.stream}.${of.consumer}`;
  }

  /** The next message; undefined when none came in time, or the bus is closed. */
  async next({
    timeoutMs,
    signal,
  }: {
    readonly timeoutMs: number;
    readonly signal?: AbortSignal;
  }): Promise<Msg | undefined> {
    const untilMs = performance.now() + timeoutMs;
    const closing = this.#broker.closing.signal;
    for (;;) {
      const leftMs = untilMs - performance.now();
      if (leftMs <= 0 || closing.aborted) return undefined;
      if (this.#broker.parts.connection.isClosed()) throw lost(undefined);
      const answer = await this.#pull(Math.min(leftMs, PULL_MS), signal);
      if (answer.type === "message") return answer.message;
      if (answer.type === "absent") await this.#checkExists();
      const pauseMs = answer.type === "empty" ? 0 : answer.type === "again" ? answer.pauseMs : PAUSE_MS;
      if (pauseMs > 0) await sleep(Math.min(pauseMs, leftMs), signal === undefined ? {} : { signal });
    }
  }

  #pull(expiresMs: number, signal: AbortSignal | undefined): Promise<Answer> {
    const { closing, parts } = this.#broker;
    const inbox = this.#idle.pop() ?? this.#newInbox();
    return new Promise<Answer>((resolve, reject) => {
      const ends: (() => void)[] = [];
      const end = (): void => {
        for (const undo of ends) undo();
      };
      const answered = (answer: Answer): void => {
        end();
        inbox.deliver = handBack;
        this.#idle.push(inbox);
        resolve(answer);
      };
      const givenUp = (): void => {
        end();
        inbox.deliver = handBack;
        // In this order the server stops sending before it confirms, and what it had sent is handed back.
        inbox.subscription.drain().catch(() => undefined);
      };
      const again = (): void => {
        givenUp();
        resolve({ type: "again", pauseMs: 0 });
      };
      const onClose = (): void => {
        end();
        resolve({ type: "empty" });
      };
      const onAbort = (): void => {
        givenUp();
        reject(abortReason(signal));
      };
      inbox.deliver = (message) => answered(readAnswer(message));
      const timer = setTimeout(again, expiresMs + LATE_MS);
      ends.push(() => clearTimeout(timer), this.#broker.onReconnect(again));
      closing.signal.addEventListener("abort", onClose, { once: true });
      signal?.addEventListener("abort", onAbort, { once: true });
      ends.push(
        () => closing.signal.removeEventListener("abort", onClose),
        () => signal?.removeEventListener("abort", onAbort),
      );
      const request = JSON.stringify({ batch: 1, expires: nanos(Math.max(1, Math.ceil(expiresMs))) });
      parts.connection.publish(this.#subject, request, { reply: inbox.subject });
    });
  }

  #newInbox(): Inbox {
    const { connection } = this.#broker.parts;
    const subject = createInbox();
    const inbox: Inbox = {
      subject,
      deliver: handBack,
      subscription: connection.subscribe(subject, {
        callback: (error, message) => {
          if (error === null) inbox.deliver(message);
        },
      }),
    };
    return inbox;
  }

  /** @throws OarlockError `BUS_CONSUMER_GONE` where the server knows for sure. */
  async #checkExists(): Promise<void> {
    const { stream, consumer } = this.#of;
    const { manager } = this.#broker.parts;
    await this.#broker
      .call(`say whether ${stream}/${consumer} exists`, () => manager.consumers.info(stream, consumer))
      .catch((reason: unknown) => {
        const code = apiCode(reason);
        if (code !== API.consumerNotFound && code !== API.streamNotFound) throw reason;
        throw new OarlockError(
          "BUS_CONSUMER_GONE",
          `the NATS server has no ${stream}/${consumer} any more: its storage was lost, or the run was removed`,
        );
      });
  }
}

/** A message that nobody takes is somebody else's at once; a status needs no answer. */
function handBack(message: Msg): void {
  if ((message.reply ?? "") !== "" && (message.headers?.code ?? 0) === 0) message.respond("-NAK");
}

function readAnswer(message: Msg): Answer {
  const code = message.headers?.code ?? 0;
  if (code === 0) return { type: "message", message };
  if (code === 404 || code === 408) return { type: "empty" };
  if (code === 503) return { type: "absent" };
  const description = message.headers?.description.toLowerCase() ?? "";
  if (/(consumer|stream) deleted/.test(description)) return { type: "absent" };
  return { type: "again", pauseMs: PAUSE_MS };
}
