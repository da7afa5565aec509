/**
 * Samples of older policies than the one in training: the learner's own log-probs take the place of the sampler's, whose
 * ratio becomes a weight (decoupled objective), and the distance between the two becomes metrics. Pure.
 */
import { importanceMetrics, importanceWeights, mismatchMetrics } from "@oarlock/rl";
import type { SampledSequence } from "@oarlock/rl";
import type { Trajectory } from "@oarlock/proto";
import type { ResolvedCorrection } from "@oarlock/runfile";
import type { TrainingRow } from "@oarlock/training";
import { spread } from "./metrics.ts";
import { trainedOf } from "./trained-tokens.ts";

type Numbers = Readonly<Record<string, number>>;

/** The sampler's log-probs (those that the row came with) beside the learner's, of trained tokens. */
export function sampledSequence(row: TrainingRow, logprobs: Float32Array): SampledSequence {
  const trained = trainedOf(row);
  return {
    rollout: trained.map((token) => row.oldLogprobs?.[token] ?? Number.NaN),
    training: trained.map((token) => logprobs[token] ?? Number.NaN),
  };
}

/** The weight of each trained token of a row, beside its tokens. */
export function importanceOf(
  row: TrainingRow,
  logprobs: Float32Array,
  correction: ResolvedCorrection,
): Float32Array {
  const weights = importanceWeights(sampledSequence(row, logprobs), correction);
  const beside = new Float32Array(row.tokens.length);
  trainedOf(row).forEach((token, t) => (beside[token] = weights[t] ?? 0));
  return beside;
}

/** A row as it came, with the learner's log-probs of its tokens. */
export interface ProximalRow {
  readonly row: TrainingRow;
  readonly logprobs: Float32Array;
}

/** The row in the decoupled objective: π_old is the learner's policy, and the sampler's is in the weight alone. */
export function correctedRow({ row, logprobs }: ProximalRow, correction: ResolvedCorrection): TrainingRow {
  return { ...row, oldLogprobs: logprobs, importance: importanceOf(row, logprobs, correction) };
}

/** A row with learner's and sampler's log-probs, as PPO has them, with its weights where the run has a correction. */
export function withImportance<S extends ProximalRow>(
  sample: S,
  correction: ResolvedCorrection | undefined,
): S {
  if (correction === undefined) return sample;
  const importance = importanceOf(sample.row, sample.logprobs, correction);
  return { ...sample, row: { ...sample.row, importance } };
}

/** How far the sampler was from the learner, and what the weights came to. */
export function offPolicyMetrics(
  rows: readonly ProximalRow[],
  correction: ResolvedCorrection | undefined,
): Numbers {
  const sequences = rows.map(({ row, logprobs }) => sampledSequence(row, logprobs));
  return {
    ...mismatchMetrics(sequences),
    ...(correction === undefined ? {} : importanceMetrics(sequences, correction)),
  };
}

/** Numbers of the policies that drew a trajectory's tokens, oldest first. */
function versionsOf({ segments }: Trajectory): number[] {
  return segments.map(({ policy }) => policy?.version ?? 0).toSorted((a, b) => a - b);
}

/** How many versions the oldest weights in a group are behind those that train on it. */
export function groupStaleness(group: readonly Trajectory[], policyNumber: number): number {
  const oldest = Math.min(...group.flatMap(versionsOf));
  return Number.isFinite(oldest) ? policyNumber - oldest : 0;
}

/** How old a batch is, and how many of its samples several versions drew; verl's names where it has some. */
export function stalenessMetrics(
  groups: readonly (readonly Trajectory[])[],
  at: { readonly policyNumber: number; readonly droppedGroups: number },
): Numbers {
  const spans = groups.flat().map((trajectory) => {
    const versions = versionsOf(trajectory);
    return (versions.at(-1) ?? 0) - (versions[0] ?? 0);
  });
  const partial = spans.filter((span) => span > 0).length;
  return {
    ...spread(
      "training/staleness",
      groups.map((group) => groupStaleness(group, at.policyNumber)),
    ),
    "fully_async/partial/total_partial_num": partial,
    "fully_async/partial/partial_ratio": partial / Math.max(1, spans.length),
    "fully_async/partial/max_partial_span": Math.max(0, ...spans),
    "fully_async/count/dropped_stale_samples": at.droppedGroups,
    "fully_async/count/current_param_version": at.policyNumber,
  };
}
