/** What a reward worker is doing, as a pure reducer: batches in hand, verdicts given. The loop in `reward.ts` applies it. */

export interface RewardState {
  readonly phase: "serving" | "draining" | "stopped";
  /** Batches scored at the same time at most (Q1). */
  readonly capacity: number;
  /** Ids of batches in hand. */
  readonly inHand: readonly string[];
  readonly trajectoriesScored: number;
  readonly trajectoriesFailed: number;
  readonly batchesHandedBack: number;
  readonly batchesParked: number;
}

export type RewardEvent =
  | { readonly type: "pulled"; readonly id: string }
  | { readonly type: "published"; readonly id: string; readonly scored: number; readonly failed: number }
  | { readonly type: "handed-back"; readonly id: string }
  | { readonly type: "parked"; readonly id: string }
  | { readonly type: "drain" }
  | { readonly type: "stopped" };

/** A reward worker that has pulled nothing. */
export function createRewardState(capacity: number): RewardState {
  return {
    phase: "serving",
    capacity,
    inHand: [],
    trajectoriesScored: 0,
    trajectoriesFailed: 0,
    batchesHandedBack: 0,
    batchesParked: 0,
  };
}

type Rule<Type> = (state: RewardState, event: Extract<RewardEvent, { type: Type }>) => RewardState;

const without = (state: RewardState, id: string): string[] => state.inHand.filter((held) => held !== id);

const rules: { readonly [Type in RewardEvent["type"]]: Rule<Type> } = {
  pulled: (state, { id }) => ({ ...state, inHand: [...state.inHand, id] }),
  published: (state, { id, scored, failed }) => ({
    ...state,
    inHand: without(state, id),
    trajectoriesScored: state.trajectoriesScored + scored,
    trajectoriesFailed: state.trajectoriesFailed + failed,
  }),
  "handed-back": (state, { id }) => ({
    ...state,
    inHand: without(state, id),
    batchesHandedBack: state.batchesHandedBack + 1,
  }),
  parked: (state, { id }) => ({
    ...state,
    inHand: without(state, id),
    batchesParked: state.batchesParked + 1,
  }),
  drain: (state) => ({ ...state, phase: state.phase === "serving" ? "draining" : state.phase }),
  stopped: (state) => ({ ...state, phase: "stopped" }),
};

/** Applies one event; one that does not apply changes nothing. */
export function reduceReward(state: RewardState, event: RewardEvent): RewardState {
  // The rule's parameter is the event of its own name: the index ties them, which the checker cannot follow.
  const rule = rules[event.type] as (state: RewardState, event: RewardEvent) => RewardState;
  return rule(state, event);
}

/** Whether to pull another batch, beside the pulls that are under way. */
export function wantsBatch(state: RewardState, pulling: number): boolean {
  return state.phase === "serving" && state.inHand.length + pulling < state.capacity;
}
