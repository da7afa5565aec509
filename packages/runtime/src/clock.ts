/** Time as an argument: the system's clock, and one that tests move by hand. Neither knows what waits on it. */
import { OarlockError } from "@oarlock/errors";

/** A timer that was started; cancelling it twice is harmless. */
export interface Timer {
  cancel(): void;
}

/** Where time comes from. */
export interface Clock {
  /** Milliseconds since 1970, for display and records; may jump. */
  nowMs(): number;
  /** Milliseconds that never go back, for deadlines and durations. */
  monotonicMs(): number;
  /** Calls `callback` once after `delayMs`; never in the same tick. */
  after(delayMs: number, callback: () => void): Timer;
}

/** setTimeout fires at once beyond this; longer delays are taken in parts. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The machine's clock. Its timers keep the process alive: a wait that nobody answers must reach its deadline (L1). */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, callback) {
    let timer: NodeJS.Timeout;
    const arm = (leftMs: number): void => {
      const partMs = Math.min(Math.max(leftMs, 0), LONGEST_TIMER_MS);
      timer = setTimeout(() => (leftMs > partMs ? arm(leftMs - partMs) : callback()), partMs);
    };
    arm(delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
};

/** Resolves after `delayMs`, or rejects with the signal's reason. */
export async function sleep(
  delayMs: number,
  options: { clock?: Clock; signal?: AbortSignal } = {},
): Promise<void> {
  const { clock = systemClock, signal } = options;
  signal?.throwIfAborted();
  let timer: Timer | undefined;
  let onAbort: (() => void) | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      timer = clock.after(delayMs, resolve);
      onAbort = () => reject(abortReason(signal));
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  } finally {
    timer?.cancel();
    if (onAbort !== undefined) signal?.removeEventListener("abort", onAbort);
  }
}

/** The signal's reason as an Error. */
export function abortReason(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason;
  return reason instanceof Error
    ? reason
    : new OarlockError("ABORTED", typeof reason === "string" ? reason : "aborted");
}

/** A clock that stands still until `advance`. */
export interface ManualClock extends Clock {
  /** Moves time forward, firing the timers on the way in order, each followed by a turn of the event loop. */
  advance(deltaMs: number): Promise<void>;
  /** Makes `nowMs` jump without moving `monotonicMs`: what an operator or NTP does to a machine. */
  jump(deltaMs: number): void;
  /** Timers that have not fired. */
  readonly pendingTimers: number;
}

/** A clock for tests, starting at `startMs` (default 0). */
export function createManualClock(startMs = 0): ManualClock {
  let elapsedMs = 0;
  let offsetMs = startMs;
  let nextId = 0;
  const timers = new Map<number, { atMs: number; callback: () => void }>();
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const due = (untilMs: number): number | undefined => {
    let best: number | undefined;
    for (const [id, timer] of timers) {
      const bestAt = best === undefined ? Infinity : (timers.get(best)?.atMs ?? Infinity);
      if (timer.atMs <= untilMs && timer.atMs < bestAt) best = id;
    }
    return best;
  };
  return {
    nowMs: () => elapsedMs + offsetMs,
    monotonicMs: () => elapsedMs,
    after(delayMs, callback) {
      const id = nextId++;
      timers.set(id, { atMs: elapsedMs + Math.max(delayMs, 0), callback });
      return { cancel: () => void timers.delete(id) };
    },
    async advance(deltaMs) {
      const untilMs = elapsedMs + deltaMs;
      await turn();
      for (let id = due(untilMs); id !== undefined; id = due(untilMs)) {
        const timer = timers.get(id);
        timers.delete(id);
        elapsedMs = Math.max(elapsedMs, timer?.atMs ?? elapsedMs);
        timer?.callback();
        await turn();
      }
      elapsedMs = untilMs;
    },
    jump(deltaMs) {
      offsetMs += deltaMs;
    },
    get pendingTimers() {
      return timers.size;
    },
  };
}
