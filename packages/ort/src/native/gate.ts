/**
 * Process-wide limits on native calls, shared by all threads: places in shared memory, each with the number of the thread that is in it.
 *
 * - Pool gate: asynchronous calls run on libuv's pool, which files, DNS and crypto use too. At most pool size − 2 of them
 *   run at once, so that reading a file never waits for a training step (P1).
 * - Exclusive gate: WebGPU runs of two sessions at once end in a crash; one run at a time in the whole process.
 *
 * The places travel by `setEnvironmentData`, so a worker shares them when its parent opened a runtime first. Waiting is first
 * in, first out within a thread; a thread learns of another thread's release by looking again after `POLL_MS`.
 *
 * A thread that is killed gives nothing back itself; whoever started it does when it has ended (L1). Node ends a thread only
 * after its calls on libuv's pool, so by then no call is under way in these places.
 */
import { getEnvironmentData, setEnvironmentData, threadId, type Worker } from "node:worker_threads";
import { OarlockError } from "@oarlock/errors";

const POLL_MS = 2;

/** What stands in a place that nobody has. */
const FREE = 0;

/** What stands in the places of a thread; of none is it `FREE`. */
const ownerOf = (thread: number): number => thread + 1;

export interface Gate {
  /** Waits for a place; resolves to the function that gives it back. */
  enter(signal?: AbortSignal): Promise<() => void>;
  /** As `enter`, blocking the calling thread. */
  enterSync(): () => void;
}

interface Waiter {
  readonly admit: (leave: () => void) => void;
}

const sharedPlaces = (name: string, width: number): Int32Array => {
  const key = `oarlock.ort.gate.${name}`;
  const found: unknown = getEnvironmentData(key);
  if (found instanceof SharedArrayBuffer) return new Int32Array(found);
  const places = new Int32Array(new SharedArrayBuffer(width * Int32Array.BYTES_PER_ELEMENT));
  setEnvironmentData(key, places.buffer);
  return places;
};

const aborted = (signal: AbortSignal): OarlockError =>
  new OarlockError("ORT_RUN_ABORTED", "the run was stopped before it started", { cause: signal.reason });

/** A semaphore over `places`. Exported for tests; use `openGate`. */
export function createGate(places: Int32Array, owner: number = ownerOf(threadId)): Gate {
  const waiting: Waiter[] = [];
  let timer: NodeJS.Timeout | undefined;

  /** The function that gives the place back, or undefined where all are taken. */
  const take = (): (() => void) | undefined => {
    const at = places.findIndex((_, i) => Atomics.compareExchange(places, i, FREE, owner) === FREE);
    if (at < 0) return undefined;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      Atomics.store(places, at, FREE);
      Atomics.notify(places, at);
      admitWaiters();
    };
  };
  const admitWaiters = (): void => {
    while (waiting.length > 0) {
      const leave = take();
      if (leave === undefined) break;
      waiting.shift()?.admit(leave);
    }
    if (waiting.length > 0) timer ??= setInterval(admitWaiters, POLL_MS);
    else {
      clearInterval(timer);
      timer = undefined;
    }
  };
  return {
    enter(signal) {
      if (signal?.aborted) return Promise.reject(aborted(signal));
      const leaveAtOnce = waiting.length === 0 ? take() : undefined;
      if (leaveAtOnce !== undefined) return Promise.resolve(leaveAtOnce);
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
      for (;;) {
        const leave = take();
        if (leave !== undefined) return leave;
        Atomics.wait(places, 0, Atomics.load(places, 0), POLL_MS);
      }
    },
  };
}

/** Frees what a thread still holds when it has ended. */
function giveBackAtEnd(places: Int32Array, worker: Worker): void {
  const owner = ownerOf(worker.threadId);
  worker.once("exit", () => places.forEach((_, i) => Atomics.compareExchange(places, i, owner, FREE)));
}

const opened = new Map<string, Gate>();

/** The gate of this process under `name`. The first caller's width holds. */
export function openGate(name: string, width: number): Gate {
  const found = opened.get(name);
  if (found !== undefined) return found;
  const places = sharedPlaces(name, width);
  const gate = createGate(places);
  process.on("worker", (worker: Worker) => giveBackAtEnd(places, worker));
  opened.set(name, gate);
  return gate;
}
