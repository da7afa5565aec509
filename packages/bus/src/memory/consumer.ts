/**
 * A durable pull consumer of the memory driver: which messages wait, which are out and until when, who takes the next one.
 * It does not know how messages are stored or removed; the stream tells it and is told.
 */
import { OarlockError } from "@oarlock/errors";
import { abortReason, type Clock, type Timer, type WaitRegistry } from "@oarlock/runtime";
import type { Consumer, ConsumerConfig, ConsumerInfo, Headers, Message } from "../types.ts";

/** A message as the stream keeps it. */
export interface StoredMessage {
  readonly sequence: number;
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: Headers;
  readonly publishedAtMs: number;
  readonly msgId?: string;
}

/** What a consumer needs of its stream. */
export interface ConsumerHost {
  readonly name: string;
  readonly clock: Clock;
  readonly registry: WaitRegistry;
  find(sequence: number): StoredMessage | undefined;
  /** Acknowledged or terminated: the stream may remove it. */
  settled(sequence: number, poison?: string): void;
  removed(consumer: MemoryConsumer): void;
}

interface Out {
  readonly deliveryCount: number;
  timer: Timer;
}

type Taker = (message: Message | undefined) => void;

/** How long `messages` waits under one name before it asks again. */
const IDLE_MS = 30_000;

export class MemoryConsumer implements Consumer {
  readonly config: ConsumerConfig;
  readonly #host: ConsumerHost;
  /** Never delivered, in order. */
  #ready: number[];
  /** To be delivered again: sequence to deliveries so far. */
  readonly #again = new Map<number, number>();
  /** Delivered, unanswered. */
  readonly #out = new Map<number, Out>();
  /** Negatively acknowledged with a delay. */
  readonly #delayed = new Map<number, { readonly deliveries: number; readonly timer: Timer }>();
  readonly #takers: Taker[] = [];
  #redelivered = 0;
  #closed = false;

  constructor(config: ConsumerConfig, host: ConsumerHost, ready: number[]) {
    this.config = config;
    this.#host = host;
    this.#ready = ready;
  }

  async next(options: {
    readonly timeoutMs: number;
    readonly signal?: AbortSignal;
  }): Promise<Message | undefined> {
    const { timeoutMs, signal } = options;
    if (this.#closed) throw new OarlockError("BUS_CLOSED", `consumer ${this.config.name} is closed`);
    signal?.throwIfAborted();
    const leave = this.#host.registry.enter(`a message on ${this.#host.name}/${this.config.name}`, timeoutMs);
    let timer: Timer | undefined;
    let onAbort: (() => void) | undefined;
    try {
      return await new Promise<Message | undefined>((resolve, reject) => {
        // Off the list in the same tick that ends the wait: a message given to nobody would be out until its ack wait.
        const stopTaking = (): void => {
          const index = this.#takers.indexOf(resolve);
          if (index >= 0) this.#takers.splice(index, 1);
        };
        timer = this.#host.clock.after(timeoutMs, () => {
          stopTaking();
          resolve(undefined);
        });
        onAbort = () => {
          stopTaking();
          reject(abortReason(signal));
        };
        signal?.addEventListener("abort", onAbort, { once: true });
        this.#takers.push(resolve);
        this.#deliver();
      });
    } finally {
      timer?.cancel();
      if (onAbort !== undefined) signal?.removeEventListener("abort", onAbort);
      leave();
    }
  }

  async *messages(options: { readonly signal?: AbortSignal } = {}): AsyncGenerator<Message, void> {
    const stopped = (): boolean => this.#closed || options.signal?.aborted === true;
    while (!stopped()) {
      let message: Message | undefined;
      try {
        message = await this.next({ timeoutMs: IDLE_MS, ...options });
      } catch (reason) {
        if (stopped()) return;
        throw reason;
      }
      if (message === undefined) continue;
      if (stopped()) return message.nak(); // nobody will look at it: let another reader have it
      yield message;
    }
  }

  info(): Promise<ConsumerInfo> {
    return Promise.resolve(this.infoNow());
  }

  infoNow(): ConsumerInfo {
    return {
      name: this.config.name,
      pending: this.#ready.length + this.#again.size + this.#delayed.size,
      ackPending: this.#out.size,
      redelivered: this.#redelivered,
    };
  }

  delete(): Promise<void> {
    this.close();
    this.#host.removed(this);
    return Promise.resolve();
  }

  /** A new message that matches the filter. */
  offer(sequence: number): void {
    this.#ready.push(sequence);
    this.#deliver();
  }

  /** The stream removed a message. */
  forget(sequence: number): void {
    if (this.#ready[0] === sequence) this.#ready.shift();
    else if (this.#ready.includes(sequence)) this.#ready = this.#ready.filter((other) => other !== sequence);
    this.#leave(sequence);
    this.#deliver();
  }

  /** Ends every wait and timer. */
  close(): void {
    this.#closed = true;
    for (const { timer } of this.#out.values()) timer.cancel();
    for (const { timer } of this.#delayed.values()) timer.cancel();
    for (const taker of this.#takers.splice(0)) taker(undefined);
  }

  /** Q1: no more than `maxAckPending` are out, whoever asks. */
  #deliver(): void {
    while (!this.#closed && this.#takers.length > 0 && this.#out.size < this.config.maxAckPending) {
      const next = this.#pick();
      if (next === undefined) return;
      const stored = this.#host.find(next.sequence);
      if (stored === undefined) continue;
      const deliveryCount = next.deliveries + 1;
      if (deliveryCount > 1) this.#redelivered++;
      this.#out.set(stored.sequence, { deliveryCount, timer: this.#ackTimer(stored.sequence) });
      this.#takers.shift()?.(this.#message(stored, deliveryCount));
    }
  }

  /** Redeliveries first, oldest first: a group that was lost once is the one that others wait for. */
  #pick(): { sequence: number; deliveries: number } | undefined {
    if (this.#again.size > 0) {
      const sequence = Math.min(...this.#again.keys());
      const deliveries = this.#again.get(sequence) ?? 0;
      this.#again.delete(sequence);
      return { sequence, deliveries };
    }
    const sequence = this.#ready.shift();
    return sequence === undefined ? undefined : { sequence, deliveries: 0 };
  }

  #ackTimer(sequence: number): Timer {
    return this.#host.clock.after(this.config.ackWaitMs, () => this.#giveBack(sequence));
  }

  #giveBack(sequence: number, delayMs = 0): void {
    const out = this.#out.get(sequence);
    if (out === undefined) return;
    this.#leave(sequence);
    const deliveries = out.deliveryCount;
    const again = (): void => {
      this.#delayed.delete(sequence);
      this.#again.set(sequence, deliveries);
      this.#deliver();
    };
    if (delayMs > 0)
      this.#delayed.set(sequence, { deliveries, timer: this.#host.clock.after(delayMs, again) });
    else again();
  }

  #leave(sequence: number): void {
    this.#out.get(sequence)?.timer.cancel();
    this.#out.delete(sequence);
    this.#delayed.get(sequence)?.timer.cancel();
    this.#delayed.delete(sequence);
    this.#again.delete(sequence);
  }

  #message(stored: StoredMessage, deliveryCount: number): Message {
    const { sequence } = stored;
    // Acknowledging late is fine, the work is done; holding or returning what another reader has by now is not.
    const mine = (): boolean => !this.#closed && this.#out.get(sequence)?.deliveryCount === deliveryCount;
    const settle = (poison?: string): Promise<void> => {
      if (this.#closed) throw new OarlockError("BUS_CLOSED", `consumer ${this.config.name} is closed`);
      const known = this.#out.has(sequence) || this.#again.has(sequence) || this.#delayed.has(sequence);
      this.#leave(sequence);
      if (known) this.#host.settled(sequence, poison);
      this.#deliver();
      return Promise.resolve();
    };
    return {
      ...stored,
      deliveryCount,
      ack: async () => settle(),
      term: async (reason) => settle(reason),
      nak: async (delayMs) => {
        if (mine()) this.#giveBack(sequence, delayMs);
      },
      working: async () => {
        const out = this.#out.get(sequence);
        if (out === undefined || !mine()) return;
        out.timer.cancel();
        out.timer = this.#ackTimer(sequence);
      },
    };
  }
}
