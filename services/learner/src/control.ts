/**
 * What people ask of a running learner, and those who wait for it to happen. The state is `state.ts`'s reducer; this holds
 * it, and the promises of whoever watches.
 */
import type { CheckpointInfo } from "@oarlock/checkpoint";
import { OarlockError } from "@oarlock/errors";
import { createWakeup } from "@oarlock/runtime";
import type { ReplaceRequest } from "./replace-scorer.ts";
import type { Replacement } from "./replacements.ts";
import { createLearnerState, hasEnded, reduceLearner } from "./state.ts";
import type { LearnerStart, LearnerState, LearnerStateEvent } from "./state.ts";

/** Something that is asked of the loop, and answered by it. */
export interface Asked {
  readonly request: ReplaceRequest;
  readonly resolve: (replacement: Replacement) => void;
  readonly reject: (reason: unknown) => void;
}

type CheckpointWatcher = Pick<Asked, "reject"> & { readonly resolve: (info: CheckpointInfo) => void };

export interface Control {
  state(): LearnerState;
  dispatch(event: LearnerStateEvent): void;
  /** Resolves at the next event, when something is asked for, and when the signal aborts. */
  changed(signal: AbortSignal): Promise<void>;
  /** Tells those who wait for a checkpoint. */
  checkpointed(info: CheckpointInfo): void;
  /** Resolves with the next checkpoint that is written; rejects with `RUN_ENDED` where none comes any more. */
  nextCheckpoint(): Promise<CheckpointInfo>;
  /** Asks the loop for a replacement; resolves when it is durable. */
  replaceScorer(request: ReplaceRequest): Promise<Replacement>;
  /** What was asked for and is not taken yet, for whoever answers it. */
  takeAsked(): readonly Asked[];
}

/** Of a learner that has done nothing, or that goes on from a checkpoint. */
export function createControl(from?: LearnerStart): Control {
  let state = createLearnerState(from);
  const { wake, changed } = createWakeup();
  let asked: Asked[] = [];
  let checkpointWatchers: CheckpointWatcher[] = [];
  const takeCheckpointWatchers = (): readonly CheckpointWatcher[] => {
    const taken = checkpointWatchers;
    checkpointWatchers = [];
    return taken;
  };
  const dispatch = (event: LearnerStateEvent): void => {
    state = reduceLearner(state, event);
    wake();
    if (!hasEnded(state)) return;
    const over = new OarlockError("RUN_ENDED", "the run is over; its last checkpoint stands");
    for (const { reject } of takeCheckpointWatchers()) reject(over);
  };
  return {
    state: () => state,
    dispatch,
    changed,
    checkpointed(info) {
      dispatch({ type: "checkpointed", globalStep: info.step });
      for (const { resolve } of takeCheckpointWatchers()) resolve(info);
    },
    nextCheckpoint: () => new Promise((resolve, reject) => void checkpointWatchers.push({ resolve, reject })),
    replaceScorer: (request) =>
      new Promise((resolve, reject) => {
        asked.push({ request, resolve, reject });
        wake();
      }),
    takeAsked() {
      const taken = asked;
      asked = [];
      return taken;
    },
  };
}
