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
import { Histogram, type HistogramView } from "./histogram.ts";
import { type RateLimits, RateLimiter } from "./rate-limiter.ts";

export interface WorkQueueOptions extends RateLimits {
  readonly clock: Clock;
}

/** What client-go measures of its queues. */
export interface WorkQueueCounts {
  readonly depth: number;
  /** Keys put in; one that is in already is not counted again. */
  readonly adds: number;
  /** Keys put back to come later. */
  readonly retries: number;
  /** Seconds from being put in to being taken. */
  readonly waited: HistogramView;
  /** Seconds in hand. */
  readonly worked: HistogramView;
  /** Of all keys in hand now, added up. */
  readonly unfinishedSeconds: number;
  readonly longestSeconds: number;
}

/** Upper bounds in seconds as client-go multiplies them, with what floating point makes of that: panels select buckets by their text. */
const BOUNDS_S: readonly number[] = [
  1e-8, 1e-7, 1e-6, 9.999999999999999e-6, 9.999999999999999e-5, 0.001, 0.01, 0.1, 1, 10, 100, 1000,
];

export class WorkQueue {
  readonly #clock: Clock;
  readonly #limiter: RateLimiter;
  /** In the order in which they are handed out. */
  readonly #waiting = new Set<string>();
  /** Since when, in monotonic ms. */
  readonly #inHand = new Map<string, number>();
  readonly #again = new Set<string>();
  /** When the keys that wait, or come again, were asked for. */
  readonly #askedMs = new Map<string, number>();
  /** The earliest time at which a key comes, and its timer. */
  readonly #later = new Map<string, { readonly atMs: number; readonly timer: Timer }>();
  readonly #takers: ((key: string) => void)[] = [];
  readonly #waited = new Histogram(BOUNDS_S);
  readonly #worked = new Histogram(BOUNDS_S);
  #adds = 0;
  #retries = 0;
  #closed = false;

  constructor({ clock, ...limits }: WorkQueueOptions) {
    this.#clock = clock;
    this.#limiter = new RateLimiter(limits);
  }

  counts(): WorkQueueCounts {
    const nowMs = this.#clock.monotonicMs();
    const seconds = [...this.#inHand.values()].map((sinceMs) => (nowMs - sinceMs) / 1000);
    return {
      depth: this.#waiting.size,
      adds: this.#adds,
      retries: this.#retries,
      waited: this.#waited,
      worked: this.#worked,
      unfinishedSeconds: seconds.reduce((sum, value) => sum + value, 0),
      longestSeconds: Math.max(0, ...seconds),
    };
  }

  /** Asks for work on a key. */
  add(key: string): void {
    if (this.#closed) return;
    if (this.#askedMs.has(key)) return;
    this.#askedMs.set(key, this.#clock.monotonicMs());
    this.#adds++;
    if (this.#inHand.has(key)) this.#again.add(key);
    else this.#offer(key);
  }

  /** Asks for work on a key after a while; the earlier of two times counts. */
  addAfter(key: string, delayMs: number): void {
    if (this.#closed) return;
    this.#retries++;
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
      this.#hand(key);
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
    const sinceMs = this.#inHand.get(key);
    if (sinceMs !== undefined) this.#worked.observe((this.#clock.monotonicMs() - sinceMs) / 1000);
    this.#inHand.delete(key);
    if (this.#again.delete(key)) this.#offer(key);
  }

  /** Takes no more keys and drops those that were to come later. */
  close(): void {
    this.#closed = true;
    for (const { timer } of this.#later.values()) timer.cancel();
    this.#later.clear();
    this.#waiting.clear();
    this.#askedMs.clear();
  }

  #offer(key: string): void {
    const taker = this.#takers.shift();
    if (taker === undefined) {
      this.#waiting.add(key);
      return;
    }
    this.#hand(key);
    taker(key);
  }

  #hand(key: string): void {
    const nowMs = this.#clock.monotonicMs();
    this.#waited.observe((nowMs - (this.#askedMs.get(key) ?? nowMs)) / 1000);
    this.#askedMs.delete(key);
    this.#inHand.set(key, nowMs);
  }
}
