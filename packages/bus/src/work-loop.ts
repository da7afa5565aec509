/**
 * The loop of a stateless worker: pulls while there is room, acknowledges an item once its effect is durable (T2), says that
 * it is still at it, hands back what it cannot finish, parks what nobody can read, and drains. It does not know what the
 * work is, and no clock decides about it (D1c): a failure only makes the item somebody's again.
 */
import { setMaxListeners } from "node:events";
import { isOarlockError, OarlockError } from "@oarlock/errors";
import {
  createWakeup,
  abortReason,
  type Clock,
  type Log,
  silentLog,
  systemClock,
  type Timer,
  type TraceContext,
  waitFor,
  withTrace,
} from "@oarlock/runtime";
import type { Consumer, Message } from "./types.ts";

/** A message that was read. */
export interface ReadItem<Item> {
  readonly id: string;
  readonly item: Item;
  /** What the item belongs to: log lines about it carry it. */
  readonly trace?: TraceContext | undefined;
}

/** What a worker does with one message. */
export interface WorkHandler<Item, Result> {
  /** Reads a message. Whatever it throws parks the message: no retry can read it. */
  read(message: Message): ReadItem<Item>;
  /**
   * Starts an item; no other one is pulled until this resolves. `done` resolves when the effect is durable. A rejection of
   * either hands the item back.
   */
  start(item: Item, id: string, signal: AbortSignal): Promise<{ readonly done: Promise<Result> }>;
  /** Failures that no retry can cure: they park the message. Default: none. */
  readonly isPoison?: (reason: unknown) => boolean;
  /** Failures of the worker itself: it hands everything back and ends with them, so that others take over. Default: none. */
  readonly isBroken?: (reason: unknown) => boolean;
}

/** What happened to an item; the worker keeps its state by these. */
export type WorkEvent<Item, Result> =
  | { readonly type: "pulled"; readonly id: string; readonly item: Item }
  | { readonly type: "done"; readonly id: string; readonly result: Result }
  | { readonly type: "handed-back"; readonly id: string }
  | { readonly type: "parked"; readonly id: string };

/** How a loop runs. */
export interface WorkLoopOptions<Item, Result> {
  readonly consumer: Consumer;
  readonly handler: WorkHandler<Item, Result>;
  /** Asked before every pull, with the number of those under way (Q1); changes only by the loop's own events. */
  readonly hasRoom: (pulling: number) => boolean;
  /** Pulls under way at most: one alone takes a message per round trip. Default 1. */
  readonly pulls?: number;
  readonly onEvent: (event: WorkEvent<Item, Result>) => void;
  /** Before an item that failed is delivered again. Default 1 000. */
  readonly handBackDelayMs?: number;
  readonly clock?: Clock;
  readonly log?: Log;
}

/** How long one pull sleeps when there is nothing; it wakes at once when there is. */
const PULL_TIMEOUT_MS = 30_000;
const HAND_BACK_DELAY_MS = 1_000;
/** The bus hears of items in hand this many times in each ack wait: two may be lost. */
const BEATS_PER_ACK_WAIT = 3;

/** Pulls and answers until it is drained or aborted. */
export class WorkLoop<Item, Result> {
  readonly #options: WorkLoopOptions<Item, Result>;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #inHand = new Set<Message>();
  readonly #giveUp = new AbortController();
  readonly #stopPulling = new AbortController();
  #pulling = 0;
  readonly #wakeup = createWakeup();
  #broken: { readonly reason: unknown } | undefined;

  constructor(options: WorkLoopOptions<Item, Result>) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#log = options.log ?? silentLog;
    // Every item in hand and every pull listens: more than Node's alarm for leaks expects, and as many as Q1 allows.
    setMaxListeners(0, this.#giveUp.signal, this.#stopPulling.signal);
  }

  /** Aborts when items in hand shall be given up. */
  get signal(): AbortSignal {
    return this.#giveUp.signal;
  }

  /** Items in hand. */
  get size(): number {
    return this.#inHand.size;
  }

  /** Pulls until drained, or until the signal aborts, which hands everything back at once; rejects when the bus or the worker itself fails. */
  async run(signal: AbortSignal): Promise<void> {
    const onAbort = (): void => {
      this.#giveUp.abort(abortReason(signal));
      this.#stopPulling.abort();
    };
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    const stopBeating = this.#beat();
    try {
      await this.#pull();
    } catch (reason) {
      this.#giveUp.abort(reason);
      throw reason;
    } finally {
      await this.#emptied();
      stopBeating();
      signal.removeEventListener("abort", onAbort);
    }
    if (this.#broken !== undefined) throw this.#broken.reason;
  }

  /** Pulls no more; resolves when nothing is in hand: what is not done after `graceMs` is handed back. */
  async drain(graceMs: number): Promise<void> {
    this.#stopPulling.abort();
    const wait = { timeoutMs: graceMs, clock: this.#clock };
    await waitFor("work in hand to finish", this.#emptied(), wait).catch((reason: unknown) =>
      this.#giveUp.abort(reason),
    );
    await this.#emptied();
  }

  async #pull(): Promise<void> {
    const { pulls = 1 } = this.#options;
    const { signal } = this.#stopPulling;
    signal.addEventListener("abort", () => this.#wakeup.wake(), { once: true });
    const pulling = Array.from({ length: pulls }, () => this.#pullInTurn(signal));
    // Where one fails, the others stop: what they hold is handed back.
    for (const one of pulling) one.catch(() => this.#stopPulling.abort());
    await Promise.allSettled(pulling);
    await Promise.all(pulling);
  }

  async #pullInTurn(signal: AbortSignal): Promise<void> {
    const { consumer, hasRoom } = this.#options;
    while (!signal.aborted) {
      if (!hasRoom(this.#pulling)) {
        await this.#wakeup.changed();
        continue;
      }
      let message: Message | undefined;
      this.#pulling++;
      try {
        message = await consumer.next({ timeoutMs: PULL_TIMEOUT_MS, signal });
      } catch (reason) {
        if (signal.aborted || isOarlockError(reason, "BUS_CLOSED")) return;
        throw reason;
      } finally {
        // In one turn with what follows: no other pull comes between this one and the item's room.
        this.#pulling--;
      }
      if (message !== undefined) await this.#take(message);
    }
  }

  async #take(message: Message): Promise<void> {
    let read: ReadItem<Item>;
    try {
      read = this.#options.handler.read(message);
    } catch (reason) {
      return this.#park(message, `message ${message.sequence}`, reason);
    }
    await withTrace(read.trace, () => this.#begin(message, read));
  }

  async #begin(message: Message, { id, item }: ReadItem<Item>): Promise<void> {
    const { handler, onEvent } = this.#options;
    this.#inHand.add(message);
    onEvent({ type: "pulled", id, item });
    try {
      const { done } = await handler.start(item, id, this.#giveUp.signal);
      void this.#finish(message, id, done);
    } catch (reason) {
      await this.#fail(message, id, reason);
    }
  }

  /** Never rejects: whatever happens to an item ends in an event. */
  async #finish(message: Message, id: string, done: Promise<Result>): Promise<void> {
    try {
      const result = await done;
      await message.ack();
      this.#leave(message, { type: "done", id, result });
    } catch (reason) {
      await this.#fail(message, id, reason);
    }
  }

  async #fail(message: Message, id: string, reason: unknown): Promise<void> {
    const { handler, handBackDelayMs = HAND_BACK_DELAY_MS } = this.#options;
    if (handler.isPoison?.(reason) === true) return this.#park(message, id, reason);
    if (handler.isBroken?.(reason) === true && this.#broken === undefined) {
      this.#broken = { reason };
      this.#giveUp.abort(reason);
      this.#stopPulling.abort();
    }
    const givingUp = this.#giveUp.signal.aborted;
    if (!givingUp) this.#log.warn("handed work back", { item: id, err: reason });
    await this.#answer(id, () => message.nak(givingUp ? 0 : handBackDelayMs));
    this.#leave(message, { type: "handed-back", id });
  }

  async #park(message: Message, id: string, reason: unknown): Promise<void> {
    this.#log.error("parked work that no retry can do", {
      item: id,
      sequence: message.sequence,
      err: reason,
    });
    await this.#answer(id, () => message.term(reason instanceof Error ? reason.message : String(reason)));
    this.#leave(message, { type: "parked", id });
  }

  /** An answer that the bus does not take is made up for by its ack wait. */
  async #answer(id: string, say: () => Promise<void>): Promise<void> {
    await say().catch((reason: unknown) =>
      this.#log.warn("the bus did not take an answer", { item: id, err: reason }),
    );
  }

  #leave(message: Message, event: WorkEvent<Item, Result>): void {
    this.#inHand.delete(message);
    this.#options.onEvent(event);
    this.#wakeup.wake();
  }

  /** Keeps items in hand ours; one beat that fails is made up for by the next. */
  #beat(): () => void {
    const intervalMs = this.#options.consumer.config.ackWaitMs / BEATS_PER_ACK_WAIT;
    let timer: Timer;
    const next = (): void => {
      timer = this.#clock.after(intervalMs, () => {
        for (const message of this.#inHand) message.working().catch(() => undefined);
        next();
      });
    };
    next();
    return () => timer.cancel();
  }

  async #emptied(): Promise<void> {
    while (this.#inHand.size > 0) await this.#wakeup.changed();
  }
}

/** The error of work that was given up before it was finished; hands it back. */
export function givenUp(what: string): OarlockError {
  return new OarlockError("WORK_GIVEN_UP", `${what} was given up before it was finished`, {
    retryable: true,
  });
}
