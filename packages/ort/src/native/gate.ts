/**
 * Process-wide limits on native calls, shared by all threads through a word of shared memory.
 *
 * - Pool gate: asynchronous calls run on libuv's pool, which files, DNS and crypto use too. At most pool size − 2 of them
 *   run at once, so that reading a file never waits for a training step (P1).
 * - Exclusive gate: WebGPU runs of two sessions at once end in a crash; one run at a time in the whole process.
 *
 * The word travels by `setEnvironmentData`, so a worker shares it when its parent opened a runtime first. Waiting is first
 * in, first out within a thread; a thread learns of another thread's release by looking again after `POLL_MS`.
 */
import { getEnvironmentData, setEnvironmentData } from "node:worker_threads";
import { OarlockError } from "@oarlock/errors";

const POLL_MS = 2;

export interface Gate {
  readonly width: number;
  /** Waits for a place; resolves to the function that gives it back. */
  enter(signal?: AbortSignal): Promise<() => void>;
  /** As `enter`, blocking the calling thread. */
  enterSync(): () => void;
}

interface Waiter {
  readonly admit: (leave: () => void) => void;
}

const sharedWord = (name: string, width: number): Int32Array => {
  const key = `oarlock.ort.gate.${name}`;
  const found: unknown = getEnvironmentData(key);
  if (found instanceof SharedArrayBuffer) return new Int32Array(found);
  const word = new Int32Array(new SharedArrayBuffer(4));
  word[0] = width;
  setEnvironmentData(key, word.buffer);
  return word;
};

const aborted = (signal: AbortSignal): OarlockError =>
  new OarlockError("ORT_RUN_ABORTED", "the run was stopped before it started", { cause: signal.reason });

/** A counting semaphore over `free[0]` places. Exported for tests; use `openGate`. */
export function createGate(free: Int32Array, width: number): Gate {
  const waiting: Waiter[] = [];
  let timer: NodeJS.Timeout | undefined;

  const take = (): boolean => {
    for (let seen = Atomics.load(free, 0); seen > 0; seen = Atomics.load(free, 0)) {
      if (Atomics.compareExchange(free, 0, seen, seen - 1) === seen) return true;
    }
    return false;
  };
  const admitWaiters = (): void => {
    while (waiting.length > 0 && take()) waiting.shift()?.admit(place());
    if (waiting.length > 0) timer ??= setInterval(admitWaiters, POLL_MS);
    else {
      clearInterval(timer);
      timer = undefined;
    }
  };
  const place = (): (() => void) => {
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      Atomics.add(free, 0, 1);
      Atomics.notify(free, 0, 1);
      admitWaiters();
    };
  };
  return {
    width,
    enter(signal) {
      if (signal?.aborted) return Promise.reject(aborted(signal));
      if (waiting.length === 0 && take()) return Promise.resolve(place());
      return new Promise((resolve, reject) => {
        const onAbort = (): void => {
          const at = waiting.indexOf(waiter);
          if (at >= 0) waiting.splice(at, 1);
          if (signal !== undefined) reject(aborted(signal));
        };
        const waiter: Waiter = {
          admit: (leave) => {
            signal?.removeEventListener("abort", onAbort);
            resolve(leave);
          },
        };
        signal?.addEventListener("abort", onAbort, { once: true });
        waiting.push(waiter);
        admitWaiters();
      });
    },
    enterSync() {
      while (!take()) Atomics.wait(free, 0, 0, POLL_MS);
      return place();
    },
  };
}

const opened = new Map<string, Gate>();

/** The gate of this process under `name`. The first caller's width holds. */
export function openGate(name: string, width: number): Gate {
  const found = opened.get(name);
  if (found !== undefined) return found;
  const gate = createGate(sharedWord(name, width), width);
  opened.set(name, gate);
  return gate;
}
