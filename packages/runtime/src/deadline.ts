/**
 * L1: every wait has a name and a deadline. `waitFor` is the way to wait for anything that another party must do; the
 * registry answers "who waits for whom" while it lasts. It does not know how to cancel the other party, except through
 * the signal that it hands to a function.
 */
import { OarlockError } from "@oarlock/errors";
import { abortReason, type Clock, systemClock, type Timer } from "./clock.ts";

/** A wait that has not ended. */
export interface OpenWait {
  /** What is waited for, and from whom: "scored group 3/17 from reward workers". */
  readonly name: string;
  readonly ageMs: number;
  /** Time until the deadline; negative when it is being reported. */
  readonly remainingMs: number;
}

/** Keeps the open waits of a part of the system. */
export class WaitRegistry {
  readonly #waits = new Map<symbol, { name: string; sinceMs: number; timeoutMs: number }>();
  readonly #clock: Clock;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  /** Notes a wait; call the result when it ends. */
  enter(name: string, timeoutMs: number): () => void {
    const key = Symbol(name);
    this.#waits.set(key, { name, sinceMs: this.#clock.monotonicMs(), timeoutMs });
    return () => void this.#waits.delete(key);
  }

  /** Oldest first. */
  open(): OpenWait[] {
    const nowMs = this.#clock.monotonicMs();
    return [...this.#waits.values()].map(({ name, sinceMs, timeoutMs }) => ({
      name,
      ageMs: nowMs - sinceMs,
      remainingMs: sinceMs + timeoutMs - nowMs,
    }));
  }
}

/** The waits of this process that were given no registry of their own. */
export const processWaits: WaitRegistry = new WaitRegistry();

/** How long to wait, and what else ends the wait. */
export interface WaitOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
  /** Default: `processWaits`. */
  readonly registry?: WaitRegistry;
}

/**
 * Waits for a promise, or for what a function starts; the function's signal aborts when the wait ends early.
 *
 * @throws OarlockError `DEADLINE_EXCEEDED` (retryable) that names the wait; the signal's reason when it aborts.
 */
export async function waitFor<T>(
  name: string,
  work: PromiseLike<T> | ((signal: AbortSignal) => PromiseLike<T>),
  options: WaitOptions,
): Promise<T> {
  const { timeoutMs, signal, clock = systemClock, registry = processWaits } = options;
  signal?.throwIfAborted();
  const leave = registry.enter(name, timeoutMs);
  const inner = new AbortController();
  let timer: Timer | undefined;
  let onAbort: (() => void) | undefined;
  const ended = new Promise<never>((_, reject) => {
    const giveUp = (reason: Error): void => {
      reject(reason);
      inner.abort(reason);
    };
    timer = clock.after(timeoutMs, () => giveUp(deadlineExceeded(name, timeoutMs)));
    onAbort = () => giveUp(abortReason(signal));
    signal?.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([typeof work === "function" ? work(inner.signal) : work, ended]);
  } finally {
    timer?.cancel();
    if (onAbort !== undefined) signal?.removeEventListener("abort", onAbort);
    leave();
  }
}

/** The error of a wait that was not answered in time. */
export function deadlineExceeded(name: string, timeoutMs: number): OarlockError {
  return new OarlockError("DEADLINE_EXCEEDED", `waited ${timeoutMs} ms for ${name}`, { retryable: true });
}
