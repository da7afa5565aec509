/**
 * What people ask of a running learner, and those who wait for it to happen. The state is `state.ts`'s reducer; this holds
 * it, and the promises of whoever watches.
 */
import type { CheckpointInfo } from "@oarlock/checkpoint";
import { createLearnerState, reduceLearner } from "./state.ts";
import type { LearnerState, LearnerStateEvent } from "./state.ts";

export interface Control {
  state(): LearnerState;
  dispatch(event: LearnerStateEvent): void;
  /** Resolves at the next event. */
  changed(): Promise<void>;
  /** Tells those who wait for a checkpoint. */
  checkpointed(info: CheckpointInfo): void;
  /** Resolves with the next checkpoint that is written. */
  nextCheckpoint(): Promise<CheckpointInfo>;
}

/** Of a learner that has done nothing. */
export function createControl(): Control {
  let state = createLearnerState();
  let watchers: (() => void)[] = [];
  let checkpointWatchers: ((info: CheckpointInfo) => void)[] = [];
  const dispatch = (event: LearnerStateEvent): void => {
    state = reduceLearner(state, event);
    const woken = watchers;
    watchers = [];
    for (const resolve of woken) resolve();
  };
  return {
    state: () => state,
    dispatch,
    changed: () => new Promise((resolve) => void watchers.push(resolve)),
    checkpointed(info) {
      dispatch({ type: "checkpointed", globalStep: info.step });
      const woken = checkpointWatchers;
      checkpointWatchers = [];
      for (const resolve of woken) resolve(info);
    },
    nextCheckpoint: () => new Promise((resolve) => void checkpointWatchers.push(resolve)),
  };
}
