/** Trying again: how long to pause before each attempt, and a loop that does it until a deadline. */
import { isOarlockError, OarlockError } from "@oarlock/errors";
import { type Clock, sleep, systemClock } from "./clock.ts";
import { processWaits, waitFor, type WaitRegistry } from "./deadline.ts";

/** Exponential backoff with full control of its randomness. */
export interface Backoff {
  /** Pause after the first failure. Default 50. */
  readonly baseMs?: number;
  /** Longest pause. Default 5 000. */
  readonly maxMs?: number;
  /** Growth per attempt. Default 2. */
  readonly factor?: number;
  /** Share of the pause that is random, 0 to 1. Default 0.5. */
  readonly jitter?: number;
  /** Uniform in [0, 1). Default Math.random: pauses decide no bits of a run. */
  readonly random?: () => number;
}

/** The pause after failure number `attempt` (from 0). */
export function backoffMs(attempt: number, backoff: Backoff = {}): number {
  const { baseMs = 50, maxMs = 5_000, factor = 2, jitter = 0.5, random = Math.random } = backoff;
  const fullMs = Math.min(maxMs, baseMs * factor ** attempt);
  return fullMs * (1 - jitter * random());
}

/** When to give up, and what is worth another attempt. */
export interface RetryOptions extends Backoff {
  /** Over all attempts and pauses. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
  readonly registry?: WaitRegistry;
  /** Default: OarlockErrors that say so. */
  readonly retryable?: (reason: unknown) => boolean;
  /** Told of each failure that will be retried. */
  readonly onRetry?: (reason: unknown, attempt: number) => void;
}

/**
 * Calls `attempt` until it succeeds, fails for good, or the time is over; its signal aborts when it is given up.
 *
 * @throws the failure itself when it is not retryable; `DEADLINE_EXCEEDED` naming the work, caused by the last failure.
 */
export async function retry<T>(
  name: string,
  attempt: (number: number, signal: AbortSignal) => Promise<T>,
  options: RetryOptions,
): Promise<T> {
  const { timeoutMs, signal, clock = systemClock, registry = processWaits, onRetry } = options;
  const retryable = options.retryable ?? ((reason) => isOarlockError(reason) && reason.retryable);
  const untilMs = clock.monotonicMs() + timeoutMs;
  // One deadline over all: an attempt that hangs is given up with the whole.
  const wait = { clock, registry, ...(signal === undefined ? {} : { signal }) };
  const leave = registry.enter(name, timeoutMs);
  try {
    for (let number = 0; ; number++) {
      signal?.throwIfAborted();
      try {
        const leftMs = Math.max(0, untilMs - clock.monotonicMs());
        return await waitFor(`attempt ${number + 1} of ${name}`, (inner) => attempt(number, inner), {
          ...wait,
          timeoutMs: leftMs,
        });
      } catch (reason) {
        if (!retryable(reason)) throw reason;
        const pauseMs = backoffMs(number, options);
        if (clock.monotonicMs() + pauseMs > untilMs) {
          throw new OarlockError(
            "DEADLINE_EXCEEDED",
            `${name}: gave up after ${number + 1} attempts in ${timeoutMs} ms`,
            {
              cause: reason,
              retryable: true,
            },
          );
        }
        onRetry?.(reason, number);
        await sleep(pauseMs, signal === undefined ? { clock } : { clock, signal });
      }
    }
  } finally {
    leave();
  }
}
