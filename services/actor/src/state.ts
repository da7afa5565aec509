/**
 * What an actor is doing, as a pure reducer: items in hand, samples in flight, whether it takes more. The loop in
 * `actor.ts` applies it; status pages read it.
 */

export interface ActorState {
  readonly phase: "serving" | "draining" | "stopped";
  /** Sequences that the generator decodes at a time. */
  readonly slots: number;
  /** Samples of items in hand, by item id. */
  readonly inHand: Readonly<Record<string, number>>;
  readonly groupsCompleted: number;
  readonly groupsHandedBack: number;
  readonly itemsParked: number;
}

export type ActorEvent =
  | { readonly type: "pulled"; readonly id: string; readonly samples: number }
  | { readonly type: "published"; readonly id: string }
  | { readonly type: "handed-back"; readonly id: string }
  | { readonly type: "parked"; readonly id: string }
  | { readonly type: "drain" }
  | { readonly type: "stopped" };

/** An actor that has pulled nothing. */
export function createActorState(slots: number): ActorState {
  return { phase: "serving", slots, inHand: {}, groupsCompleted: 0, groupsHandedBack: 0, itemsParked: 0 };
}

type Rule<Type> = (state: ActorState, event: Extract<ActorEvent, { type: Type }>) => ActorState;

const rules: { readonly [Type in ActorEvent["type"]]: Rule<Type> } = {
  pulled: (state, { id, samples }) => ({ ...state, inHand: { ...state.inHand, [id]: samples } }),
  published: (state, { id }) => ({ ...without(state, id), groupsCompleted: state.groupsCompleted + 1 }),
  "handed-back": (state, { id }) => ({ ...without(state, id), groupsHandedBack: state.groupsHandedBack + 1 }),
  parked: (state, { id }) => ({ ...without(state, id), itemsParked: state.itemsParked + 1 }),
  drain: (state) => ({ ...state, phase: state.phase === "serving" ? "draining" : state.phase }),
  stopped: (state) => ({ ...state, phase: "stopped" }),
};

function without(state: ActorState, id: string): ActorState {
  const { [id]: _, ...inHand } = state.inHand;
  return { ...state, inHand };
}

/** Applies one event; one that does not apply changes nothing. */
export function reduceActor(state: ActorState, event: ActorEvent): ActorState {
  // The rule's parameter is the event of its own name: the index ties them, which the checker cannot follow.
  const rule = rules[event.type] as (state: ActorState, event: ActorEvent) => ActorState;
  return rule(state, event);
}

/** Samples being generated or waiting for a slot. */
export function samplesInHand(state: ActorState): number {
  return Object.values(state.inHand).reduce((sum, samples) => sum + samples, 0);
}

/**
 * Whether to pull another item: while a slot could run dry. One item beyond the slots is held, so that a freed slot
 * finds work at once, and no more, so that other actors find theirs.
 */
export function wantsWork(state: ActorState): boolean {
  return state.phase === "serving" && samplesInHand(state) <= state.slots;
}
