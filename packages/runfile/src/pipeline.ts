/** What the pipeline's mode means for bounds and memory: one place that knows both modes. Pure. */
import type { ResolvedCorrection, ResolvedPipeline } from "./resolved.ts";

/** Batches of groups in flight at most (Q1): η + 1 in either mode. */
export function batchesInFlight(pipeline: ResolvedPipeline): number {
  return 1 + (pipeline.mode === "lockstep" ? pipeline.lag : pipeline.maxStaleness);
}

/** Versions before the current one that work yet to come names: lockstep's lag; streaming takes the newest. */
export function laggingVersions(pipeline: ResolvedPipeline): number {
  return pipeline.mode === "lockstep" ? pipeline.lag : 0;
}

/** How samples of older policies are weighed; undefined in lockstep, whose ratio is to the policy that sampled. */
export function correctionOf(pipeline: ResolvedPipeline): ResolvedCorrection | undefined {
  return pipeline.mode === "streaming" ? pipeline.correction : undefined;
}
