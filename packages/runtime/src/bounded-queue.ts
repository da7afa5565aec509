/** Q1: a queue between two parts of one process that is never longer than its capacity. Full means wait or be told. */
import { OarlockError } from "@oarlock/errors";
import { abortReason } from "./clock.ts";
import { type WaitOptions, waitFor } from "./deadline.ts";

interface Taker<T> {
  readonly give: (item: T) => void;
  readonly end: () => void;
}

/** First in, first out; many producers, many consumers. */
export class BoundedQueue<T> implements AsyncIterable<T> {
  readonly name: string;
  readonly capacity: number;
  readonly #items: T[] = [];
  readonly #takers = new Set<Taker<T>>();
  readonly #room: (() => void)[] = [];
  #closed = false;

  constructor(name: string, capacity: number) {
    if (!Number.isSafeInteger(capacity) || capacity < 1) {
      throw new OarlockError("QUEUE_CAPACITY", `${name}: capacity ${capacity}; a whole number from 1 on`);
    }
    this.name = name;
    this.capacity = capacity;
  }

  get size(): number {
    return this.#items.length;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Adds an item if there is room. @throws OarlockError `QUEUE_CLOSED`. */
  tryPush(item: T): boolean {
    if (this.#closed) throw new OarlockError("QUEUE_CLOSED", `${this.name} is closed`);
    const [taker] = this.#takers;
    if (taker !== undefined) {
      this.#takers.delete(taker);
      taker.give(item);
      return true;
    }
    if (this.#items.length >= this.capacity) return false;
    this.#items.push(item);
    return true;
  }

  /** Adds an item, waiting for room within the deadline. */
  async push(item: T, options: WaitOptions): Promise<void> {
    options.signal?.throwIfAborted();
    while (!this.tryPush(item)) {
      let wake: () => void = () => undefined;
      const room = new Promise<void>((resolve) => (wake = resolve));
      this.#room.push(wake);
      try {
        await waitFor(`room in ${this.name} (capacity ${this.capacity})`, room, options);
      } catch (reason) {
        const index = this.#room.indexOf(wake);
        if (index >= 0) this.#room.splice(index, 1);
        else this.#wakeOne(); // it had been told of room that it does not use
        throw reason;
      }
    }
  }

  /** The next item; undefined when the queue is closed and empty. Rejects when the signal aborts. */
  async take(signal?: AbortSignal): Promise<T | undefined> {
    signal?.throwIfAborted();
    if (this.#items.length > 0) {
      const item = this.#items.shift();
      this.#wakeOne();
      return item;
    }
    if (this.#closed) return undefined;
    let onAbort: (() => void) | undefined;
    try {
      return await new Promise<T | undefined>((resolve, reject) => {
        const taker: Taker<T> = { give: resolve, end: () => resolve(undefined) };
        this.#takers.add(taker);
        onAbort = () => {
          this.#takers.delete(taker);
          reject(abortReason(signal));
        };
        signal?.addEventListener("abort", onAbort, { once: true });
      });
    } finally {
      if (onAbort !== undefined) signal?.removeEventListener("abort", onAbort);
    }
  }

  /** No more items come; takers get what is left, then undefined. */
  close(): void {
    this.#closed = true;
    for (const taker of this.#takers) taker.end();
    this.#takers.clear();
    while (this.#room.length > 0) this.#wakeOne();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void> {
    for (;;) {
      const item = await this.take();
      if (item === undefined && this.#closed) return;
      // Only a closed queue gives undefined for "no item"; T itself may include undefined.
      yield item as T;
    }
  }

  #wakeOne(): void {
    this.#room.shift()?.();
  }
}
