/**
 * Calls of a worker thread. They start in order, and one ends before the next begins: what they work on has one user at a time.
 * A call with a number can be stopped by it, from when it comes: while it waits for its turn too.
 */
import { OarlockError } from "@oarlock/errors";

export interface NamedCall {
  /** Names the call for `abort`. */
  readonly call: number;
}

export interface Calls {
  readonly inOrder: <Q, R>(work: (request: Q) => R | Promise<R>) => (request: Q) => Promise<R>;
  /** As `inOrder`; `signal` is aborted once `abort` names the call. */
  readonly abortable: <Q extends NamedCall, R>(
    work: (request: Q, signal: AbortSignal) => Promise<R>,
  ) => (request: Q) => Promise<R>;
  /** Not in order: it stops a call that runs or waits. Of one that is over, nothing. */
  readonly abort: (request: NamedCall) => void;
}

/** One order for all calls that go through it. */
export function createCalls(): Calls {
  const stops = new Map<number, AbortController>();
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <R>(work: () => R | Promise<R>): Promise<R> => {
    const result = last.then(work);
    last = result.catch(() => undefined);
    return result;
  };
  return {
    inOrder: (work) => (request) => inTurn(() => work(request)),
    abortable: (work) => (request) => {
      const stop = new AbortController();
      stops.set(request.call, stop);
      return inTurn(() => work(request, stop.signal)).finally(() => stops.delete(request.call));
    },
    abort: ({ call }) => stops.get(call)?.abort(),
  };
}

/** Between two runs: lets the thread's messages in (an abort is one), then throws `TRAINING_ABORTED` if asked to stop. */
export async function pause(signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return;
  await new Promise((resolve) => setImmediate(resolve));
  if (signal.aborted)
    throw new OarlockError("TRAINING_ABORTED", "the call was stopped", { cause: signal.reason });
}
