/**
 * A queue of keys for level-triggered work, with the guarantees of client-go's:
 *
 *   Q1. a key waits at most once, however often it is added;
 *   Q2. a key is never in two hands at a time;
 *   Q3. a key that is added while in hand comes again after it.
 *
 * Failures come back later by key (exponential), under one bound for all keys together (token bucket). Knows no work.
 */
import type { Clock, Timer } from "@oarlock/runtime";
import { abortReason } from "@oarlock/runtime";
import { type RateLimits, RateLimiter } from "./rate-limiter.ts";

export interface WorkQueueOptions extends RateLimits {
  readonly clock: Clock;
}

export interface WorkQueueCounts {
  readonly depth: number;
  readonly adds: number;
  readonly retries: number;
}

export class WorkQueue {
  readonly #clock: Clock;
  readonly #limiter: RateLimiter;
  /** In the order in which they are handed out. */
  readonly #waiting = new Set<string>();
  readonly #inHand = new Set<string>();
  readonly #again = new Set<string>();
  /** The earliest time at which a key comes, and its timer. */
  readonly #later = new Map<string, { readonly atMs: number; readonly timer: Timer }>();
  readonly #takers: ((key: string) => void)[] = [];
  #adds = 0;
  #retries = 0;
  #closed = false;

  constructor({ clock, ...limits }: WorkQueueOptions) {
    this.#clock = clock;
    this.#limiter = new RateLimiter(limits);
  }

  counts(): WorkQueueCounts {
    return { depth: this.#waiting.size, adds: this.#adds, retries: this.#retries };
  }

  /** Asks for work on a key. */
  add(key: string): void {
    if (this.#closed) return;
    this.#adds++;
    if (this.#inHand.has(key)) this.#again.add(key);
    else this.#offer(key);
  }

  /** Asks for work on a key after a while; the earlier of two times counts. */
  addAfter(key: string, delayMs: number): void {
    if (this.#closed) return;
    const atMs = this.#clock.monotonicMs() + delayMs;
    const before = this.#later.get(key);
    if (before !== undefined && before.atMs <= atMs) return;
    before?.timer.cancel();
    const timer = this.#clock.after(delayMs, () => {
      this.#later.delete(key);
      this.add(key);
    });
    this.#later.set(key, { atMs, timer });
  }

  /** Asks for work on a key that failed, later each time; returns the pause. */
  addFailed(key: string, atLeastMs = 0): number {
    this.#retries++;
    const pauseMs = Math.max(atLeastMs, this.#limiter.pauseMs(key, this.#clock.monotonicMs()));
    this.addAfter(key, pauseMs);
    return pauseMs;
  }

  /** The key went well: its next failure pauses as briefly as the first. */
  forget(key: string): void {
    this.#limiter.forget(key);
  }

  /** Takes the next key; `done` must follow. Rejects when the signal aborts. */
  take(signal: AbortSignal): Promise<string> {
    if (signal.aborted) return Promise.reject(abortReason(signal));
    const [key] = this.#waiting;
    if (key !== undefined) {
      this.#waiting.delete(key);
      this.#inHand.add(key);
      return Promise.resolve(key);
    }
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#takers.splice(this.#takers.indexOf(taker), 1);
        reject(abortReason(signal));
      };
      const taker = (taken: string): void => {
        signal.removeEventListener("abort", onAbort);
        resolve(taken);
      };
      this.#takers.push(taker);
      signal.addEventListener("abort", onAbort, { once: true });
    });
  }

  /** The key is out of hand; it comes again if it was asked for meanwhile (Q3). */
  done(key: string): void {
    this.#inHand.delete(key);
    if (this.#again.delete(key)) this.#offer(key);
  }

  /** Takes no more keys and drops those that were to come later. */
  close(): void {
    this.#closed = true;
    for (const { timer } of this.#later.values()) timer.cancel();
    this.#later.clear();
    this.#waiting.clear();
  }

  #offer(key: string): void {
    const taker = this.#takers.shift();
    if (taker === undefined) {
      this.#waiting.add(key);
      return;
    }
    this.#inHand.add(key);
    taker(key);
  }
}
