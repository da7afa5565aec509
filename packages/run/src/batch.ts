/**
 * A batch under collection: the groups of one step or of one evaluation, complete when every sample is either scored
 * or failed (S1). Order is by group and sample index, never by arrival (D1). Knows nothing of what samples contain.
 */
import type { BatchName, PolicyVersion } from "./identity.ts";

/** What is known of one sample: still out, scored, or failed with a reason that the payload carries. */
export type SampleStatus = "pending" | "scored" | "failed";

export interface GroupState {
  readonly samples: readonly SampleStatus[];
  /** Samples still pending. */
  readonly remaining: number;
  readonly issuedAtMs: number;
}

export interface BatchState extends BatchName {
  readonly policy: PolicyVersion;
  /** Samples of each group, by group index. */
  readonly groupSizes: readonly number[];
  /** Groups issued so far, in order of their index; `groups` has as many entries. */
  readonly groups: readonly GroupState[];
  /** Groups without a pending sample. */
  readonly completed: number;
  /** Groups of this batch in flight at most; Infinity is written as the batch's size. */
  readonly window: number;
}

/** A batch of which nothing is issued yet. */
export function openBatch(
  batch: BatchName & Pick<BatchState, "policy" | "groupSizes" | "window">,
): BatchState {
  return { ...batch, groups: [], completed: 0 };
}

/** Whether every group is complete. */
export function isComplete(batch: BatchState): boolean {
  return batch.completed === batch.groupSizes.length;
}

/** Groups issued and not complete. */
export function groupsInFlight(batch: BatchState): number {
  return batch.groups.length - batch.completed;
}

/** A group of which everything is out. */
export function openGroup(size: number, nowMs: number): GroupState {
  return { samples: Array.from({ length: size }, () => "pending"), remaining: size, issuedAtMs: nowMs };
}

/** Issues as many further groups as the batch's window allows. */
export function issueGroups(
  batch: BatchState,
  nowMs: number,
): { batch: BatchState; issued: readonly number[] } {
  const room = Math.max(0, batch.window - groupsInFlight(batch));
  const first = batch.groups.length;
  const sizes = batch.groupSizes.slice(first, first + room);
  if (sizes.length === 0) return { batch, issued: [] };
  const added = sizes.map((size) => openGroup(size, nowMs));
  return {
    batch: { ...batch, groups: [...batch.groups, ...added] },
    issued: sizes.map((_, offset) => first + offset),
  };
}

/** The verdict on one sample, as it arrives. */
export interface SampleVerdict {
  readonly sample: number;
  readonly status: Exclude<SampleStatus, "pending">;
}

/** Marks the pending samples among `verdicts` of a group; `fresh` are those that were pending. */
export function markSamples(
  batch: BatchState,
  group: number,
  verdicts: readonly SampleVerdict[],
): { batch: BatchState; fresh: readonly number[] } {
  const before = batch.groups[group];
  if (before === undefined) return { batch, fresh: [] };
  const { group: after, fresh } = markGroup(before, verdicts);
  const groups = batch.groups.with(group, after);
  const completed = batch.completed + (after.remaining === 0 && before.remaining > 0 ? 1 : 0);
  return { batch: { ...batch, groups, completed }, fresh };
}

/** Marks the pending samples among `verdicts`. */
export function markGroup(
  before: GroupState,
  verdicts: readonly SampleVerdict[],
): { group: GroupState; fresh: readonly number[] } {
  const samples = [...before.samples];
  const fresh: number[] = [];
  for (const { sample, status } of verdicts) {
    if (samples[sample] !== "pending") continue;
    samples[sample] = status;
    fresh.push(sample);
  }
  return { group: { ...before, samples, remaining: before.remaining - fresh.length }, fresh };
}
