/**
 * `scaling.mode: Balanced`: how many actors a run should have so that its learner neither waits nor drowns. Pure:
 * what it knows is the demand that a window of steps measured, and the number that is there.
 */
import type { Demand } from "./pace.ts";

export interface BalanceBounds {
  readonly least: number;
  readonly most: number;
}

/** Between these shares of the present number nothing changes: noise of a step must not start pods. */
const GROW_ABOVE = 1.1;
const SHRINK_BELOW = 0.8;
/** A learner that waits for longer than this share of a step loses no actor. */
const SHRINK_IDLE = 0.1;
/** Actors kept beyond the demand when some go. */
const RESERVE = 1.1;
/** Growth of one decision: what was measured with one actor may not hold for ten. */
const GROW_FACTOR = 2;
/** What was too few is tried again where the demand has fallen below this share of it. */
const FORGET_BELOW = 0.5;

/** The number of actors after this demand. */
export function balanced(
  present: number,
  demand: Demand | undefined,
  { least, most }: BalanceBounds,
): number {
  const within = (count: number): number => Math.min(most, Math.max(least, 1, count));
  // A demand of another fleet says nothing about this one.
  if (demand === undefined || demand.actors !== present) return within(present);
  const { needed, tooFew, learnerIdle } = demand;
  if (needed > GROW_ABOVE * present) return within(Math.min(GROW_FACTOR * present, Math.ceil(needed)));
  if (needed >= SHRINK_BELOW * present || learnerIdle > SHRINK_IDLE) return within(present);
  const known = needed < FORGET_BELOW * tooFew ? 0 : tooFew;
  return within(Math.min(present, Math.max(known + 1, Math.ceil(RESERVE * needed))));
}

/** Why, in the words of an event. */
export function balanceWords({ learnerIdle, actorsBusy }: Demand): string {
  const percent = (share: number): string => `${Math.round(100 * share)}%`;
  return `the learner waits ${percent(learnerIdle)} of a step, actors work ${percent(actorsBusy)} of the time`;
}
