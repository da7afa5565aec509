/**
 * The pace of a run's pipeline, from what its learner says every few seconds: which share of a step the learner waits for
 * its batch, which share of the time actors have work, and from both how many actors would just keep the learner busy.
 * A reducer over looks; pure.
 *
 * With n actors at work for a share b of the time, and a learner that waits for a share i of it, a batch costs n·b·P
 * actor-seconds of a period P, and the learner itself (1 − i)·P: as many actors as n·b / (1 − i) keep up with it. Where
 * reward workers are what is slow, i is large and b small alike, and more actors are not asked for.
 */

/** What is seen of the pipeline at one moment. */
export interface Look {
  readonly nowMs: number;
  /** Stage and finished steps, told apart by the text. */
  readonly step: string;
  /** Of the newest finished step; undefined in a stage without rollouts. */
  readonly waitSeconds: number | undefined;
  readonly stepSeconds: number | undefined;
  /** Groups that no actor has answered yet. */
  readonly unanswered: number;
  /** Actors that serve. */
  readonly actors: number;
  /** Actors that should. */
  readonly wanted: number;
}

/** What a window of steps says. */
export interface Demand {
  /** Actors that served. */
  readonly actors: number;
  /** Share of a step that the learner waited for its batch, 0 to 1. */
  readonly learnerIdle: number;
  /** Share of the time that an actor had work, 0 to 1. */
  readonly actorsBusy: number;
  /** Actors that would just keep the learner busy. */
  readonly needed: number;
  /** So many were too few a while ago: more were started. */
  readonly tooFew: number;
}

/** Steps that are being added up. */
interface Window {
  readonly startedMs: number;
  readonly step: string;
  /** Steps before it counts: batches in flight when the number of actors changed were made by the fleet before. */
  readonly unsettled: number;
  readonly steps: number;
  readonly waitSeconds: number;
  readonly stepSeconds: number;
  readonly looks: number;
  readonly busy: number;
}

/** What is known of a run's pace. */
export interface Pace {
  readonly actors: number;
  /** Undefined while there is nothing to measure. */
  readonly window?: Window;
  /** What the last full window said, of this number of actors. */
  readonly demand?: Demand;
  readonly tooFew: number;
  /** Full windows until `tooFew` is forgotten: runs change as they learn. */
  readonly remembered: number;
}

const SETTLING_STEPS = 2;
/** A window is full after so many steps, or after so long if steps are long. */
const WINDOW_STEPS = 10;
const LONG_WINDOW_STEPS = 2;
const LONG_WINDOW_MS = 120_000;
const WINDOW_LOOKS = 4;
/** A learner that only waits says that more is needed, not that infinitely more is. */
const MOST_IDLE = 0.95;
const REMEMBERED_WINDOWS = 50;

/** A run of which nothing is known. */
export const NO_PACE: Pace = { actors: 0, tooFew: 0, remembered: 0 };

/** The pace after one more look. */
export function notePace(before: Pace, look: Look): Pace {
  const { waitSeconds, stepSeconds, actors } = look;
  const isMeasurable = waitSeconds !== undefined && stepSeconds !== undefined && actors > 0;
  // While pods come and go, or in a stage that samples nothing, what was measured stays, and nothing is added.
  if (!isMeasurable || actors !== look.wanted) return without(before, "window");
  const fleet = before.actors === actors ? before : changed(before, actors);
  if (fleet.window === undefined) return { ...fleet, window: opened(look, SETTLING_STEPS) };
  const window = added(fleet.window, look, { waitSeconds, stepSeconds });
  if (!isFull(window, look.nowMs)) return { ...fleet, window };
  const remembered = Math.max(0, fleet.remembered - 1);
  const tooFew = remembered === 0 ? 0 : fleet.tooFew;
  const demand = { ...demandOf(window, actors), tooFew };
  return { actors, tooFew, remembered, demand, window: opened(look, 0) };
}

function changed({ actors: before, tooFew, remembered }: Pace, actors: number): Pace {
  const grown = before > 0 && actors > before;
  return grown
    ? { actors, tooFew: before, remembered: REMEMBERED_WINDOWS }
    : { actors, tooFew: Math.min(tooFew, actors - 1), remembered };
}

function without(pace: Pace, field: "window"): Pace {
  const { [field]: _, ...rest } = pace;
  return rest;
}

function opened({ nowMs, step }: Look, unsettled: number): Window {
  return { startedMs: nowMs, step, unsettled, steps: 0, waitSeconds: 0, stepSeconds: 0, looks: 0, busy: 0 };
}

function added(
  window: Window,
  look: Look,
  { waitSeconds, stepSeconds }: { readonly waitSeconds: number; readonly stepSeconds: number },
): Window {
  const finished = look.step === window.step ? 0 : 1;
  if (window.unsettled > 0) return opened(look, window.unsettled - finished);
  return {
    ...window,
    step: look.step,
    steps: window.steps + finished,
    waitSeconds: window.waitSeconds + finished * waitSeconds,
    stepSeconds: window.stepSeconds + finished * stepSeconds,
    looks: window.looks + 1,
    busy: window.busy + Math.min(1, look.unanswered / look.actors),
  };
}

function isFull({ steps, looks, startedMs }: Window, nowMs: number): boolean {
  if (looks < WINDOW_LOOKS) return false;
  return steps >= WINDOW_STEPS || (steps >= LONG_WINDOW_STEPS && nowMs - startedMs >= LONG_WINDOW_MS);
}

function demandOf({ waitSeconds, stepSeconds, looks, busy }: Window, actors: number): Omit<Demand, "tooFew"> {
  const learnerIdle = stepSeconds > 0 ? Math.min(1, waitSeconds / stepSeconds) : 0;
  const actorsBusy = busy / looks;
  const needed = (actors * actorsBusy) / (1 - Math.min(MOST_IDLE, learnerIdle));
  return { actors, learnerIdle, actorsBusy, needed };
}
