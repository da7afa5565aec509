/** Where a run stands, by name and as the contract numbers it: the learner says it, the controller and people read it. */
import { RunPhase } from "@oarlock/proto";

export type RunPhaseName =
  | "starting"
  | "running"
  | "paused"
  | "draining"
  | "stopped"
  | "succeeded"
  | "failed"
  | "stalled";

const NUMBERS: { readonly [Name in RunPhaseName]: RunPhase } = {
  starting: RunPhase.STARTING,
  running: RunPhase.RUNNING,
  paused: RunPhase.PAUSED,
  draining: RunPhase.DRAINING,
  stopped: RunPhase.STOPPED,
  succeeded: RunPhase.SUCCEEDED,
  failed: RunPhase.FAILED,
  stalled: RunPhase.STALLED,
};

const NAMES: ReadonlyMap<RunPhase, string> = new Map(
  Object.entries(NUMBERS).map(([name, number]) => [number, name]),
);

/** The phase's number in messages. */
export function runPhase(name: RunPhaseName): RunPhase {
  return NUMBERS[name];
}

/** Undefined for a phase that this version does not know. */
export function runPhaseName(phase: RunPhase): RunPhaseName | undefined {
  return NAMES.get(phase) as RunPhaseName | undefined;
}
