/**
 * Continuous batching as a reducer: who waits, who sits in which slot, and what to do about it. A sequence that ends
 * leaves its slot at once, the next one enters without waiting for the batch; occupied slots stay a prefix of all
 * slots, so a decode step computes no empty rows. Order is first come, first served.
 *
 * A request's prompt is prefilled once, when its first sample gets a slot, and its prefix is kept until its last one
 * has. Replacing the weights is a barrier in the queue: everything before it finishes first.
 *
 * It knows no tensors, tokens or clocks. Waiting samples are bounded by the caller's `maxWaiting` (Q1).
 */
import { OarlockError } from "@oarlock/errors";

/** One sample of a request. */
export interface Seat {
  readonly request: string;
  /** Index into the request's samples. */
  readonly sample: number;
}

type Waiting =
  | { readonly type: "request"; readonly request: string; readonly samples: number; readonly next: number }
  | { readonly type: "barrier"; readonly barrier: string };

export interface SchedulerState {
  readonly slots: number;
  readonly maxWaiting: number;
  /** Index is the slot; a slot that was left is undefined until the next `fill`. */
  readonly seats: readonly (Seat | undefined)[];
  readonly queue: readonly Waiting[];
  readonly waitingSamples: number;
  /** Decode steps, and occupied slots summed over them. */
  readonly steps: number;
  readonly occupied: number;
}

export type SchedulerEvent =
  | { readonly type: "submit"; readonly request: string; readonly samples: number }
  | { readonly type: "barrier"; readonly barrier: string }
  /** The sequences in these slots have ended. */
  | { readonly type: "leave"; readonly slots: readonly number[] }
  | { readonly type: "cancel"; readonly request: string }
  /** Seats who can be seated; between two decode steps. */
  | { readonly type: "fill" }
  /** A decode step ran over the occupied slots. */
  | { readonly type: "stepped" };

export type SchedulerEffect =
  | { readonly type: "prefill"; readonly request: string }
  /** The sequence starts in `slot` from its request's prefix. */
  | { readonly type: "place"; readonly seat: Seat; readonly slot: number }
  /** The request's prefix is needed no longer. */
  | { readonly type: "release"; readonly request: string }
  | { readonly type: "move"; readonly from: number; readonly to: number }
  /** Cancelled while it sat in `slot`, or (no slot) while it waited. */
  | { readonly type: "drop"; readonly seat: Seat; readonly slot?: number }
  /** Everything submitted before the barrier has ended; the only effect of its fill. */
  | { readonly type: "pass"; readonly barrier: string };

type Result = readonly [SchedulerState, readonly SchedulerEffect[]];

export function createScheduler(options: { slots: number; maxWaiting: number }): SchedulerState {
  return { ...options, seats: [], queue: [], waitingSamples: 0, steps: 0, occupied: 0 };
}

/** How many slots are occupied. */
export function activeSeats(state: SchedulerState): number {
  return state.seats.reduce((count, seat) => (seat ? count + 1 : count), 0);
}

const handlers: {
  readonly [T in SchedulerEvent["type"]]: (
    state: SchedulerState,
    event: Extract<SchedulerEvent, { type: T }>,
  ) => Result;
} = {
  submit(state, { request, samples }) {
    if (state.waitingSamples + samples > state.maxWaiting) {
      const message = `${state.waitingSamples} samples wait already; ${samples} more pass the limit of ${state.maxWaiting}`;
      throw new OarlockError("GENERATION_FULL", message, { retryable: true });
    }
    const queue = [...state.queue, { type: "request" as const, request, samples, next: 0 }];
    return [{ ...state, queue, waitingSamples: state.waitingSamples + samples }, []];
  },
  barrier(state, { barrier }) {
    return [{ ...state, queue: [...state.queue, { type: "barrier", barrier }] }, []];
  },
  leave(state, { slots }) {
    return [
      { ...state, seats: state.seats.map((seat, slot) => (slots.includes(slot) ? undefined : seat)) },
      [],
    ];
  },
  cancel(state, { request }) {
    const effects: SchedulerEffect[] = [];
    const seats = state.seats.map((seat, slot) => {
      if (seat?.request !== request) return seat;
      effects.push({ type: "drop", seat, slot });
      return undefined;
    });
    let { waitingSamples } = state;
    const queue = state.queue.filter((entry) => {
      if (entry.type !== "request" || entry.request !== request) return true;
      for (let sample = entry.next; sample < entry.samples; sample++)
        effects.push({ type: "drop", seat: { request, sample } });
      if (entry.next > 0) effects.push({ type: "release", request });
      waitingSamples -= entry.samples - entry.next;
      return false;
    });
    return [{ ...state, seats, queue, waitingSamples }, effects];
  },
  fill(state) {
    return compact(...seatWaiting(state));
  },
  stepped(state) {
    return [{ ...state, steps: state.steps + 1, occupied: state.occupied + activeSeats(state) }, []];
  },
};

/** The scheduler's one transition. Throws `GENERATION_FULL` when a submission passes the bound. */
export function schedule(state: SchedulerState, event: SchedulerEvent): Result {
  // The table is typed per event; TypeScript cannot see that the handler picked by `type` takes this very event.
  const handle = handlers[event.type] as (state: SchedulerState, event: SchedulerEvent) => Result;
  return handle(state, event);
}

function seatWaiting(state: SchedulerState): [SchedulerState, SchedulerEffect[]] {
  const effects: SchedulerEffect[] = [];
  const seats = [...state.seats];
  const queue = [...state.queue];
  let { waitingSamples } = state;
  const free = freeSlots(state);
  for (let head = queue[0]; head; head = queue[0]) {
    if (head.type === "barrier") {
      if (seats.some((seat) => seat !== undefined)) break;
      // Alone in its fill: what comes after runs on the new weights.
      return [{ ...state, queue: queue.slice(1) }, [{ type: "pass", barrier: head.barrier }]];
    }
    const { request, samples } = head;
    if (free.length > 0 && head.next === 0) effects.push({ type: "prefill", request });
    let { next } = head;
    for (let slot = free.shift(); slot !== undefined; slot = next < samples ? free.shift() : undefined) {
      const seat = { request, sample: next++ };
      seats[slot] = seat;
      effects.push({ type: "place", seat, slot });
    }
    waitingSamples -= next - head.next;
    if (next < samples) {
      queue[0] = { ...head, next };
      break;
    }
    effects.push({ type: "release", request });
    queue.shift();
  }
  return [{ ...state, seats, queue, waitingSamples }, effects];
}

function freeSlots({ seats, slots }: SchedulerState): number[] {
  const free: number[] = [];
  for (let slot = 0; slot < slots; slot++) if (!seats[slot]) free.push(slot);
  return free;
}

/** Moves the last sequences into the holes that nobody entered. */
function compact(state: SchedulerState, effects: SchedulerEffect[]): Result {
  const seats = [...state.seats];
  for (let to = 0; to < seats.length; to++) {
    while (seats.length > 0 && !seats.at(-1)) seats.pop();
    if (to >= seats.length || seats[to]) continue;
    const from = seats.length - 1;
    seats[to] = seats.pop();
    effects.push({ type: "move", from, to });
  }
  return [{ ...state, seats }, effects];
}
