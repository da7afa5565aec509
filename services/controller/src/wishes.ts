/**
 * Wishes for a checkpoint: an annotation on the run, carried to its learner beside the reconcile, which does not wait for it.
 * Lost with the process: the next one finds the wish unfulfilled and asks again.
 */
import type { LearnerClient } from "./learner-client.ts";
import { CHECKPOINT_ANNOTATION } from "./names.ts";
import { callerTls, isReady, type Observed, podsOf } from "./observed.ts";

export interface Wishes {
  /** Carries a run's wish if it has a new one; gives the wish once it is fulfilled. */
  carry(key: string, seen: Observed): string | undefined;
  forget(key: string): void;
}

interface Wish {
  readonly text: string;
  readonly done: boolean;
}

/** `again` is told of a run whose wish was fulfilled. */
export function createWishes(
  learners: Pick<LearnerClient, "checkpoint">,
  again: (key: string) => void,
): Wishes {
  const wishes = new Map<string, Wish>();
  const ask = async (key: string, text: string, seen: Observed): Promise<void> => {
    wishes.set(key, { text, done: false });
    const done = await learners.checkpoint(podsOf(seen, "learner"), callerTls(seen, "learner"));
    if (wishes.get(key)?.text !== text) return;
    if (!done) return void wishes.delete(key); // the next look at the run asks again
    wishes.set(key, { text, done });
    again(key);
  };
  return {
    carry(key, seen) {
      const text = seen.run.metadata.annotations?.[CHECKPOINT_ANNOTATION];
      if (text === undefined || text === seen.run.status?.checkpoint?.request) return undefined;
      const known = wishes.get(key);
      if (known?.text === text) return known.done ? text : undefined;
      if (podsOf(seen, "learner").some(isReady)) void ask(key, text, seen);
      return undefined;
    },
    forget: (key) => void wishes.delete(key),
  };
}
