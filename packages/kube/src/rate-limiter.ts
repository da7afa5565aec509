/** How long a key that failed waits: exponential by key, and a token bucket over all keys. Time is an argument. */

export interface RateLimits {
  /** Pause after the first failure of a key. Default 5. */
  readonly baseMs?: number;
  /** Longest pause of a key. Default 1 000 s. */
  readonly maxMs?: number;
  /** Retries per second over all keys. Default 10. */
  readonly perSecond?: number;
  /** Retries at once over all keys. Default 100. */
  readonly burst?: number;
}

export class RateLimiter {
  readonly #limits: Required<RateLimits>;
  readonly #failures = new Map<string, number>();
  #tokens: number;
  #atMs = 0;

  constructor(limits: RateLimits = {}) {
    this.#limits = { baseMs: 5, maxMs: 1_000_000, perSecond: 10, burst: 100, ...limits };
    this.#tokens = this.#limits.burst;
  }

  /** Notes a failure of a key and says how long to wait. */
  pauseMs(key: string, nowMs: number): number {
    const { baseMs, maxMs } = this.#limits;
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    return Math.max(Math.min(maxMs, baseMs * 2 ** failures), this.#bucketMs(nowMs));
  }

  forget(key: string): void {
    this.#failures.delete(key);
  }

  /** Takes a token, on credit where there is none: the pause until it would have been there. */
  #bucketMs(nowMs: number): number {
    const { perSecond, burst } = this.#limits;
    this.#tokens = Math.min(burst, this.#tokens + ((nowMs - this.#atMs) * perSecond) / 1000) - 1;
    this.#atMs = nowMs;
    return this.#tokens >= 0 ? 0 : (-this.#tokens / perSecond) * 1000;
  }
}
