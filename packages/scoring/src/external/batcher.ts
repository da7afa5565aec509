/**
 * Questions of many callers in shared calls: a call goes out when it is full, or when its oldest question has waited so long.
 * A question whose caller is gone is not sent; a call that nobody waits for is aborted. It does not know what is asked.
 */
import { OarlockError } from "@oarlock/errors";
import type { Clock, Timer } from "@oarlock/runtime";

export interface BatcherOptions<I, O> {
  readonly name: string;
  /** Questions of one call at most. */
  readonly batchSize: number;
  readonly waitMs: number;
  /** Calls at the same time at most. */
  readonly concurrency: number;
  /** Questions that wait at most (Q1). */
  readonly capacity: number;
  readonly clock: Clock;
  /** An answer to each question, in their order. */
  readonly call: (questions: readonly I[], signal: AbortSignal) => Promise<readonly O[]>;
}

export interface Batcher<I, O> {
  /** Throws `SCORER_OVERLOADED` where too many wait, and the signal's reason. */
  ask(questions: readonly I[], signal?: AbortSignal): Promise<O[]>;
  /** Questions without an answer. */
  readonly depth: number;
}

interface Waiting<I, O> {
  readonly question: I;
  readonly sinceMs: number;
  readonly resolve: (answer: O) => void;
  readonly reject: (reason: unknown) => void;
  /** Its caller gave up. */
  gone: boolean;
  /** Set when it is sent. */
  onGone: () => void;
}

export function createBatcher<I, O>(options: BatcherOptions<I, O>): Batcher<I, O> {
  const { name, batchSize, waitMs, concurrency, capacity, clock, call } = options;
  let queue: Waiting<I, O>[] = [];
  let asked = 0;
  let calls = 0;
  let timer: Timer | undefined;

  const send = async (batch: readonly Waiting<I, O>[]): Promise<void> => {
    const controller = new AbortController();
    for (const waiting of batch) {
      waiting.onGone = () => {
        if (batch.every(({ gone }) => gone)) controller.abort(new OarlockError("ABORTED", "nobody waits"));
      };
    }
    calls++;
    try {
      const answers = await call(
        batch.map(({ question }) => question),
        controller.signal,
      );
      if (answers.length !== batch.length) {
        throw new OarlockError("BATCH_MISMATCH", `${name}: ${answers.length} answers to ${batch.length}`);
      }
      batch.forEach(({ resolve }, i) => {
        const answer = answers[i];
        if (answer !== undefined) resolve(answer);
      });
    } catch (reason) {
      for (const { reject } of batch) reject(reason);
    } finally {
      calls--;
      pump();
    }
  };

  const pump = (): void => {
    timer?.cancel();
    timer = undefined;
    queue = queue.filter(({ gone }) => !gone);
    for (;;) {
      const [oldest] = queue;
      if (oldest === undefined || calls >= concurrency) return;
      const leftMs = oldest.sinceMs + waitMs - clock.monotonicMs();
      if (queue.length < batchSize && leftMs > 0) {
        timer = clock.after(leftMs, pump);
        return;
      }
      void send(queue.splice(0, batchSize));
    }
  };

  return {
    get depth() {
      return asked;
    },
    async ask(questions, signal) {
      signal?.throwIfAborted();
      if (asked + questions.length > capacity) {
        throw new OarlockError("SCORER_OVERLOADED", `${name}: ${asked} samples wait; at most ${capacity}`, {
          retryable: true,
        });
      }
      asked += questions.length;
      const { mine, answers } = enlist<I, O>(questions, clock.monotonicMs());
      const abort = (): void => giveUp(mine, signal?.reason);
      signal?.addEventListener("abort", abort, { once: true });
      queue.push(...mine);
      pump();
      try {
        return await Promise.all(answers);
      } finally {
        asked -= questions.length;
        signal?.removeEventListener("abort", abort);
      }
    },
  };
}

/** Questions with a place for each answer. */
function enlist<I, O>(
  questions: readonly I[],
  sinceMs: number,
): { readonly mine: readonly Waiting<I, O>[]; readonly answers: readonly Promise<O>[] } {
  const mine: Waiting<I, O>[] = [];
  const answers = questions.map(
    (question) =>
      new Promise<O>((resolve, reject) => {
        mine.push({ question, sinceMs, resolve, reject, gone: false, onGone: () => undefined });
      }),
  );
  return { mine, answers };
}

function giveUp<I, O>(mine: readonly Waiting<I, O>[], reason: unknown): void {
  for (const waiting of mine) {
    waiting.gone = true;
    waiting.reject(reason);
  }
  for (const { onGone } of mine) onGone();
}
