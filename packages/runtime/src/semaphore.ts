/** A counted permit: at most so many at once, first come first served. It does not know what is done under it. */
import { OarlockError } from "@oarlock/errors";
import { type WaitOptions, waitFor } from "./deadline.ts";

/** At most `capacity` holders at a time. */
export class Semaphore {
  readonly capacity: number;
  readonly #name: string;
  readonly #waiting: (() => void)[] = [];
  #held = 0;

  constructor(name: string, capacity: number) {
    if (!Number.isSafeInteger(capacity) || capacity < 1) {
      throw new OarlockError("SEMAPHORE_CAPACITY", `${name}: capacity ${capacity}; a whole number from 1 on`);
    }
    this.#name = name;
    this.capacity = capacity;
  }

  /** Permits in use. */
  get held(): number {
    return this.#held;
  }

  /** Waits for a permit within the deadline; call the result, once, to give it back. */
  async acquire(options: WaitOptions): Promise<() => void> {
    options.signal?.throwIfAborted();
    if (this.#held < this.capacity) {
      this.#held++;
      return this.#releaser();
    }
    let grant: () => void = () => undefined;
    const granted = new Promise<void>((resolve) => (grant = resolve));
    this.#waiting.push(grant);
    try {
      await waitFor(`a permit of ${this.#name} (${this.#held} of ${this.capacity} held)`, granted, options);
    } catch (reason) {
      const index = this.#waiting.indexOf(grant);
      // Granted in the same turn as the deadline: pass it on, or it would be lost.
      if (index < 0) this.#release();
      else this.#waiting.splice(index, 1);
      throw reason;
    }
    return this.#releaser();
  }

  /** Runs `work` under a permit. */
  async run<T>(options: WaitOptions, work: () => Promise<T>): Promise<T> {
    const release = await this.acquire(options);
    try {
      return await work();
    } finally {
      release();
    }
  }

  #releaser(): () => void {
    let released = false;
    return () => {
      if (released) return;
      released = true;
      this.#release();
    };
  }

  #release(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#held--;
    else next(); // the permit changes hands without becoming free
  }
}
