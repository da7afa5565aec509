/**
 * Who waits for whom (L1): one sentence from the conductor's state, for status pages and for the line that is logged
 * when nothing moves. Time is an argument; nothing here decides anything (D1c).
 */
import { groupsInFlight, isComplete } from "./batch.ts";
import type { BatchState } from "./batch.ts";
import type { ConductorState } from "./conductor.ts";
import { nextBatch } from "./stream.ts";

/** What a batch still waits for. */
export interface BatchWait {
  readonly waiter: string;
  /** Indices of groups with pending samples, in order. */
  readonly groups: readonly number[];
  readonly groupsTotal: number;
  /** How many of these, or of those in streaming mode, complete the batch. */
  readonly groupsMissing: number;
  readonly samplesPending: number;
  readonly policy: number;
  /** Age of the oldest group that is out. */
  readonly oldestMs: number;
}

/** How many group indices a sentence lists. */
const LISTED_GROUPS = 8;

/** Every incomplete batch, oldest issue first. */
export function openWaits(state: ConductorState, nowMs: number): BatchWait[] {
  return [
    ...Object.values(state.batches)
      .filter((batch) => !isComplete(batch) && groupsInFlight(batch) > 0)
      .map((batch) => waitOf(batch, nowMs)),
    ...streamWaits(state, nowMs),
  ].toSorted((a, b) => b.oldestMs - a.oldestMs);
}

function waitOf(batch: BatchState, nowMs: number): BatchWait {
  const pending = batch.groups
    .map((group, index) => ({ group, index }))
    .filter(({ group }) => group.remaining > 0);
  const oldest = Math.min(...pending.map(({ group }) => group.issuedAtMs));
  return {
    waiter: `${batch.purpose === "rollout" ? "step" : "evaluation at step"} ${batch.step} of stage ${batch.stage}`,
    groups: pending.map(({ index }) => index),
    groupsTotal: batch.groupSizes.length,
    groupsMissing: pending.length,
    samplesPending: pending.reduce((sum, { group }) => sum + group.remaining, 0),
    policy: batch.policy.number,
    oldestMs: Math.max(0, nowMs - oldest),
  };
}

/** The next batch of a stream waits for any of the groups that are open. */
function streamWaits({ stream, stage, published }: ConductorState, nowMs: number): BatchWait[] {
  const open = Object.entries(stream?.open ?? {});
  if (stream === undefined || open.length === 0 || nextBatch(stream) !== undefined) return [];
  const oldest = Math.min(...open.map(([, { issuedAtMs }]) => issuedAtMs));
  return [
    {
      waiter: `step ${stream.trained} of stage ${stage}`,
      groups: open.map(([number]) => Number(number)),
      groupsTotal: stream.plan.groupsPerStep,
      groupsMissing: stream.plan.groupsPerStep - stream.ready.length,
      samplesPending: open.reduce((sum, [, { remaining }]) => sum + remaining, 0),
      policy: published.at(-1)?.number ?? stream.plan.basePolicy,
      oldestMs: Math.max(0, nowMs - oldest),
    },
  ];
}

/** Milliseconds since anything was issued, admitted or trained. */
export function idleMs(state: ConductorState, nowMs: number): number {
  return Math.max(0, nowMs - state.lastProgressMs);
}

/** One sentence that names the cause, or says that nothing is awaited. */
export function describeWaits(state: ConductorState, nowMs: number): string {
  const [first, ...others] = openWaits(state, nowMs);
  if (first === undefined) return "no group is awaited";
  const listed = first.groups.slice(0, LISTED_GROUPS).join(", ");
  const more = first.groups.length > LISTED_GROUPS ? ", …" : "";
  const rest = others.length === 0 ? "" : `; ${others.length} more batch(es) are open`;
  return (
    `${first.waiter} waits for ${first.groupsMissing} of ${first.groupsTotal} groups (${listed}${more}; ` +
    `${first.samplesPending} samples, policy version ${first.policy}) that were issued to actors ` +
    `${(first.oldestMs / 1000).toFixed(1)} s ago and have not come back from the reward workers${rest}`
  );
}
