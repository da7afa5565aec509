/** The number of actors beyond which more cannot help: work in flight is bounded (Q1), and so is the learner's rate. Pure. */
import type { ResolvedSpec } from "../resolved.ts";
import { batchesInFlight } from "../pipeline.ts";
import { rolloutsOf } from "../stage-parts.ts";

/** What bounds the groups in flight. */
export interface RolloutWindow {
  /** η: batches ahead of training: lockstep's lag, streaming's maxStaleness. */
  readonly lag: number;
  /** B: groups of a step. */
  readonly promptsPerStep: number;
}

export interface UsefulActors {
  readonly most: number;
  readonly reason: "GroupsInFlight" | "LearnerRate";
  readonly why: string;
}

/** The widest window of a run's stages; undefined where none samples. */
export function rolloutWindow(spec: Pick<ResolvedSpec, "pipeline" | "stages">): RolloutWindow | undefined {
  const promptsPerStep = Math.max(0, ...spec.stages.map((stage) => rolloutsOf(stage)?.promptsPerStep ?? 0));
  return promptsPerStep === 0 ? undefined : { lag: batchesInFlight(spec.pipeline) - 1, promptsPerStep };
}

/**
 * (η + 1) · B groups are in flight at most, and a group is one actor's. `keepUp`: actors whose batches come as fast as the
 * learner trains, where that was measured; without lag the two alternate, and more actors always shorten a step.
 */
export function usefulActors({ lag, promptsPerStep }: RolloutWindow, keepUp?: number): UsefulActors {
  const groups = (lag + 1) * promptsPerStep;
  const byRate = keepUp === undefined || lag === 0 ? Infinity : Math.max(1, Math.ceil(keepUp));
  if (byRate < groups)
    return { most: byRate, reason: "LearnerRate", why: `${byRate} keep the learner busy all the time` };
  const why = `at most ${groups} groups are in flight: (lag ${lag} + 1) × ${promptsPerStep} prompts a step`;
  return { most: groups, reason: "GroupsInFlight", why };
}
