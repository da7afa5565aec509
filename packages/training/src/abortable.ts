/** Calls of a worker thread that are stopped by their number, between two runs of the engine. */
import { OarlockError } from "@oarlock/errors";

export interface AbortableCalls {
  /** Runs a call; `signal` is aborted once `abort` names it. */
  run<R>(call: number, work: (signal: AbortSignal) => Promise<R>): Promise<R>;
  /** Of a call that is over, nothing. */
  abort(call: number): void;
}

export function createAbortableCalls(): AbortableCalls {
  const running = new Map<number, AbortController>();
  return {
    async run(call, work) {
      const stop = new AbortController();
      running.set(call, stop);
      try {
        return await work(stop.signal);
      } finally {
        running.delete(call);
      }
    },
    abort: (call) => running.get(call)?.abort(),
  };
}

/** Between two runs: lets the thread's messages in (an abort is one), then throws `TRAINING_ABORTED` if asked to stop. */
export async function pause(signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return;
  await new Promise((resolve) => setImmediate(resolve));
  if (signal.aborted)
    throw new OarlockError("TRAINING_ABORTED", "the call was stopped", { cause: signal.reason });
}
