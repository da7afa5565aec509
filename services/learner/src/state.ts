/**
 * What people may ask of a running learner (pause, resume, checkpoint now, stop) and where it stands, as a pure reducer.
 * The loop in `learner.ts` looks at it between two actions; handlers dispatch to it.
 */
import type { PolicyVersion, Position, RunPhaseName } from "@oarlock/run";
import { START } from "@oarlock/run";

export interface LearnerState {
  readonly phase: RunPhaseName;
  /** One sentence for people. */
  readonly message: string;
  readonly position: Position;
  readonly policy: PolicyVersion;
  /** Asked for and not yet written. */
  readonly checkpointWanted: boolean;
  readonly lastCheckpointStep: number;
  readonly metrics: Readonly<Record<string, number>>;
  /** Of the newest step; empty where nobody records its trace. */
  readonly traceId: string;
}

export type LearnerStateEvent =
  | { readonly type: "started" }
  | { readonly type: "pause" }
  | { readonly type: "resume" }
  | { readonly type: "stop"; readonly reason: string }
  | { readonly type: "checkpoint-wanted" }
  | { readonly type: "checkpointed"; readonly globalStep: number }
  | {
      readonly type: "moved";
      readonly position: Position;
      readonly policy: PolicyVersion;
      readonly metrics: Readonly<Record<string, number>>;
      readonly traceId: string;
    }
  | {
      readonly type: "ended";
      readonly phase: "stopped" | "succeeded" | "failed" | "stalled";
      readonly message: string;
    };

/** Where a learner goes on. */
export type LearnerStart = Pick<LearnerState, "position" | "policy">;

const NOTHING: LearnerStart = { position: START, policy: { number: 0, digest: "" } };

/** A learner that has done nothing, or that goes on from a checkpoint and has restored nothing of it yet. */
export function createLearnerState({ position, policy }: LearnerStart = NOTHING): LearnerState {
  return {
    phase: "starting",
    message: "",
    position,
    policy,
    checkpointWanted: false,
    lastCheckpointStep: position.policy,
    metrics: {},
    traceId: "",
  };
}

const ENDED: readonly RunPhaseName[] = ["stopped", "succeeded", "failed", "stalled"];

/** Whether the run is over. */
export function hasEnded(state: LearnerState): boolean {
  return ENDED.includes(state.phase);
}

type Rule<Type> = (state: LearnerState, event: Extract<LearnerStateEvent, { type: Type }>) => LearnerState;

const rules: { readonly [Type in LearnerStateEvent["type"]]: Rule<Type> } = {
  started: (state) => (state.phase === "starting" ? { ...state, phase: "running" } : state),
  pause: (state) =>
    state.phase === "running" || state.phase === "starting" ? { ...state, phase: "paused" } : state,
  resume: (state) => (state.phase === "paused" ? { ...state, phase: "running" } : state),
  stop: (state, { reason }) => (hasEnded(state) ? state : { ...state, phase: "draining", message: reason }),
  "checkpoint-wanted": (state) => (hasEnded(state) ? state : { ...state, checkpointWanted: true }),
  checkpointed: (state, { globalStep }) => ({
    ...state,
    checkpointWanted: false,
    lastCheckpointStep: globalStep,
  }),
  moved: (state, { position, policy, metrics, traceId }) => ({
    ...state,
    position,
    policy,
    metrics,
    traceId,
  }),
  ended: (state, { phase, message }) => ({ ...state, phase, message }),
};

/** Applies one event; one that does not apply changes nothing. */
export function reduceLearner(state: LearnerState, event: LearnerStateEvent): LearnerState {
  // The rule's parameter is the event of its own name: the index ties them, which the checker cannot follow.
  const rule = rules[event.type] as (state: LearnerState, event: LearnerStateEvent) => LearnerState;
  return rule(state, event);
}
