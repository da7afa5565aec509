/**
 * The rollouts of a stage in streaming mode (architecture §3): groups are issued in the order of the data, a batch is the
 * first B of them that are complete, and what became too old is dropped with its reason. Pure; plain JSON.
 *
 *   issue the N-th group  ⇔  ⌊(N − 1)/B⌋ ≤ v + η      N counts trained, ready and open groups and the candidate; v is the
 *                                                     number of published updates of the stage (AReaL, arXiv:2505.24298)
 *   train on a group      ⇔  base + trained − (oldest version that drew a token of it) ≤ η
 *
 * Q1 follows from the first: at most (η + 1) · B groups are open or ready, since v ≤ trained. A dropped group counts for
 * nothing, so that another takes its place. The n-th group of a stage has the identity (step ⌊n/B⌋, group n mod B): its
 * place in the data, not the step that trains on it.
 */
import type { SampleVerdict } from "./batch.ts";
import { markGroup, openGroup } from "./batch.ts";
import type { GroupState } from "./batch.ts";
import type { GroupIdentity, PolicyVersion } from "./identity.ts";

/** What a streaming stage asks of the conductor. */
export interface StreamPlan {
  /** η, in versions. */
  readonly maxStaleness: number;
  readonly steps: number;
  /** Number of the policy at the stage's start. */
  readonly basePolicy: number;
  /** B. */
  readonly groupsPerStep: number;
  readonly samplesPerGroup: number;
}

/** A group that is out. */
export interface StreamGroup extends GroupState {
  /** Number of the oldest policy that drew a token of it, of what came back; undefined: nothing did. */
  readonly oldest: number | undefined;
}

/** A complete group that waits for its batch. */
export interface ReadyGroup {
  /** Its place in the data, from 0. */
  readonly number: number;
  readonly oldest: number;
}

export interface StreamState {
  readonly plan: StreamPlan;
  /** Steps of the stage that are trained. */
  readonly trained: number;
  /** Groups that were ever issued: the number of the next new one. */
  readonly issued: number;
  /** Groups that a checkpoint found open or ready: they are issued again, before new ones. */
  readonly again: readonly number[];
  /** By number. */
  readonly open: Readonly<Record<number, StreamGroup>>;
  /** In the order in which they were completed; it only grows at its end until a batch is used. */
  readonly ready: readonly ReadyGroup[];
}

/** Where a stream stands, for a checkpoint (T3): every number below `issued` that is not outstanding is trained or dropped. */
export interface StreamCursor {
  readonly issued: number;
  readonly outstanding: readonly number[];
}

/** A stream of which nothing is out; `cursor` is a checkpoint's. */
export function openStream(plan: StreamPlan, trained: number, cursor?: StreamCursor): StreamState {
  const { issued = trained * plan.groupsPerStep, outstanding = [] } = cursor ?? {};
  return { plan, trained, issued, again: outstanding, open: {}, ready: [] };
}

/** What a checkpoint keeps: payloads of open and ready groups are not kept, so these are issued again. */
export function streamCursor({ issued, again, open, ready }: StreamState): StreamCursor {
  const outstanding = [...again, ...Object.keys(open).map(Number), ...ready.map(({ number }) => number)];
  return { issued, outstanding: outstanding.toSorted((a, b) => a - b) };
}

/** Groups open or ready (Q1). */
export function streamInFlight({ open, ready }: StreamState): number {
  return Object.keys(open).length + ready.length;
}

/** The identity of the n-th group, as far as the stream knows it. */
export function placeOf(
  { groupsPerStep }: StreamPlan,
  number: number,
): Pick<GroupIdentity, "step" | "group"> {
  return { step: Math.floor(number / groupsPerStep), group: number % groupsPerStep };
}

/** The number of a group of the stage; undefined where no group can have that identity. */
export function numberOf(
  { groupsPerStep }: StreamPlan,
  { step, group, draw }: Pick<GroupIdentity, "step" | "group" | "draw">,
): number | undefined {
  return draw === 0 && group < groupsPerStep ? step * groupsPerStep + group : undefined;
}

/** How many groups may be open or ready now that `newest` is the newest published policy. */
function capacity({ plan, trained }: StreamState, newest: PolicyVersion): number {
  const { basePolicy, maxStaleness, steps, groupsPerStep } = plan;
  const updates = Math.min(trained, newest.number - basePolicy);
  return (Math.min(steps, updates + maxStaleness + 1) - trained) * groupsPerStep;
}

/** Issues what pacing allows: first what a checkpoint left, then new groups. */
export function issueNumbers(
  stream: StreamState,
  newest: PolicyVersion,
  nowMs: number,
): { readonly stream: StreamState; readonly numbers: readonly number[] } {
  const room = Math.max(0, capacity(stream, newest) - streamInFlight(stream));
  const repeated = stream.again.slice(0, room);
  const added = Array.from({ length: room - repeated.length }, (_, i) => stream.issued + i);
  const numbers = [...repeated, ...added];
  if (numbers.length === 0) return { stream, numbers };
  const group: StreamGroup = { ...openGroup(stream.plan.samplesPerGroup, nowMs), oldest: undefined };
  const open = { ...stream.open, ...Object.fromEntries(numbers.map((number) => [number, group])) };
  const again = stream.again.slice(repeated.length);
  return { stream: { ...stream, open, again, issued: stream.issued + added.length }, numbers };
}

/** Whether a group whose oldest weights are `oldest` may not be trained on any more. */
export function isStale({ plan, trained }: StreamState, oldest: number): boolean {
  return plan.basePolicy + trained - oldest > plan.maxStaleness;
}

/** Counts verdicts on samples of an open group, drawn by `oldest` and newer policies. */
export function admitSamples(
  stream: StreamState,
  number: number,
  { verdicts, oldest }: { readonly verdicts: readonly SampleVerdict[]; readonly oldest: number },
): { readonly stream: StreamState; readonly fresh: readonly number[]; readonly completed: boolean } {
  const before = stream.open[number];
  if (before === undefined) return { stream, fresh: [], completed: false };
  const { group: marked, fresh } = markGroup(before, verdicts);
  const group = { ...marked, oldest: Math.min(before.oldest ?? oldest, oldest) };
  if (group.remaining > 0) {
    return { stream: { ...stream, open: { ...stream.open, [number]: group } }, fresh, completed: false };
  }
  const ready = [...stream.ready, { number, oldest: group.oldest }];
  return { stream: { ...removeOpen(stream, [number]), ready }, fresh, completed: true };
}

/** Forgets open groups. */
export function removeOpen(stream: StreamState, numbers: readonly number[]): StreamState {
  const kept = Object.entries(stream.open).filter(([number]) => !numbers.includes(Number(number)));
  return { ...stream, open: Object.fromEntries(kept) };
}

/** The next batch, in the order of the data, if enough groups are ready. */
export function nextBatch({ plan, ready }: StreamState): readonly number[] | undefined {
  if (ready.length < plan.groupsPerStep) return undefined;
  return ready
    .slice(0, plan.groupsPerStep)
    .map(({ number }) => number)
    .toSorted((a, b) => a - b);
}

/** The stream after its next batch was trained on, and the groups that are too old from now on. */
export function useBatch(stream: StreamState): {
  readonly stream: StreamState;
  readonly stale: readonly number[];
} {
  const { plan, trained } = stream;
  const used = { ...stream, trained: trained + 1, ready: stream.ready.slice(plan.groupsPerStep) };
  const isOld = (oldest: number | undefined): boolean => oldest !== undefined && isStale(used, oldest);
  const staleReady = used.ready.filter(({ oldest }) => isOld(oldest)).map(({ number }) => number);
  const staleOpen = Object.entries(used.open)
    .filter(([, { oldest }]) => isOld(oldest))
    .map(([number]) => Number(number));
  const ready = used.ready.filter(({ oldest }) => !isOld(oldest));
  return { stream: removeOpen({ ...used, ready }, staleOpen), stale: [...staleReady, ...staleOpen] };
}
