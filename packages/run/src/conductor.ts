/**
 * The conductor: issues work, admits what comes back, says when a batch is complete. A pure reducer; it holds no
 * clients, clocks or payloads, and its state is plain JSON.
 *
 *   T1  Every issued group is admitted into exactly one batch, by identity, whatever arrives twice, late or from elsewhere.
 *   D1  The batch of step k is made by exactly policy base + max(0, k − η); nothing depends on order of arrival.
 *   D1c Nothing is dropped for its age: a wait ends as a stall that is reported, never as a missing group.
 *   Q1  Rollout groups in flight never exceed (η + 1) · B; those of an evaluation never exceed its window.
 *   W2  A message counts only with the number and digest of the policy that its work was issued for.
 *
 * In streaming mode (`stream.ts`) a stage's rollouts are one stream instead of a batch a step: D1 is given up, D1c gives way
 * to groups that are dropped with a reason, and W2 asks for policies that this learner published. T1 and Q1 hold in both.
 */
import { groupsInFlight, isComplete, issueGroups, markSamples, openBatch } from "./batch.ts";
import type { BatchState } from "./batch.ts";
import { refusal, refusalDetail } from "./admission.ts";
import type { DropReason, ScoredHead } from "./admission.ts";
import { batchKey } from "./identity.ts";
import type { BatchName, GroupIdentity, PolicyVersion } from "./identity.ts";
import { issueLimit, policyNumberOfStep } from "./lockstep.ts";
import type { LockstepPlan } from "./lockstep.ts";
import { GROUP_DROP_REASONS, continuedLedger, countGroupDropped, countMessageDropped } from "./ledger.ts";
import type { GroupDropReason, Ledger } from "./ledger.ts";
import {
  admitSamples,
  issueNumbers,
  nextBatch,
  numberOf,
  openStream,
  placeOf,
  removeOpen,
  streamCursor,
  streamInFlight,
  useBatch,
} from "./stream.ts";
import type { StreamCursor, StreamPlan, StreamState } from "./stream.ts";
import { quiet } from "./transition.ts";
import type { Transition } from "./transition.ts";

/** What one rollout stage asks of the conductor. */
export interface RolloutPlan extends LockstepPlan {
  readonly groupsPerStep: number;
  readonly samplesPerGroup: number;
}

/** An order to actors: samples `firstSample` … `firstSample + samples − 1` of a group. */
export interface WorkItem {
  readonly identity: GroupIdentity;
  /** The one that generates; where `followNewest`, the oldest that may begin. */
  readonly policy: PolicyVersion;
  /** Streaming: the newest policy takes over at every token boundary. */
  readonly followNewest: boolean;
  readonly firstSample: number;
  readonly samples: number;
}

export interface ConductorState {
  readonly uid: string;
  /** Of the learner; raised by every restart (F1). */
  readonly incarnation: number;
  /** Digest of everything that decides bits; work made under another one is refused (D1b). */
  readonly fingerprint: string;
  /** Samples per work item at most: a larger group is split. */
  readonly itemSamples: number;
  readonly stage: number;
  /** Undefined between rollout stages: only evaluations are issued. */
  readonly plan: RolloutPlan | undefined;
  /** Steps of the stage that are trained. */
  readonly trained: number;
  /** Steps of the stage whose work is issued. */
  readonly issuedSteps: number;
  /** Published policies that untrained work may need, oldest first. */
  readonly published: readonly PolicyVersion[];
  /** Batches being collected or waiting to be trained, by `batchKey`. */
  readonly batches: Readonly<Record<string, BatchState>>;
  /** The stage's rollouts in streaming mode; `plan` is undefined then. */
  readonly stream: StreamState | undefined;
  readonly ledger: Ledger;
  readonly lastProgressMs: number;
}

export type ConductorEvent =
  | {
      readonly type: "stage-began";
      readonly stage: number;
      readonly plan: RolloutPlan | undefined;
      /** Steps already trained: above 0 after a resume. */
      readonly trained: number;
      readonly published: readonly PolicyVersion[];
      /** Instead of `plan`: the stage streams, from where a checkpoint left it. */
      readonly stream?: { readonly plan: StreamPlan; readonly cursor?: StreamCursor };
    }
  | { readonly type: "published"; readonly policy: PolicyVersion }
  | {
      readonly type: "evaluation-began";
      readonly step: number;
      readonly policy: PolicyVersion;
      readonly groupSizes: readonly number[];
      readonly window: number;
    }
  | { readonly type: "received"; readonly message: ScoredHead }
  /** A message of the group was parked. */
  | {
      readonly type: "parked";
      readonly identity: GroupIdentity;
      readonly incarnation: number;
      readonly reason: string;
    }
  | { readonly type: "batch-used"; readonly batch: BatchName };

/** Every event carries the time at which it is applied, for waits only: no decision depends on it (D1c). */
export type TimedEvent = ConductorEvent & { readonly nowMs: number };

export type ConductorEffect =
  | { readonly type: "issue"; readonly items: readonly WorkItem[] }
  /** Keep the payload of these samples; the others of the message are duplicates. */
  | { readonly type: "keep"; readonly identity: GroupIdentity; readonly samples: readonly number[] }
  | {
      readonly type: "drop";
      readonly identity: GroupIdentity;
      readonly reason: DropReason;
      /** Who made it, by what, and what was expected, where that is the reason. */
      readonly detail: string;
    }
  /** Streaming: the group will not be trained on; what was kept of it is of no use. */
  | { readonly type: "drop-group"; readonly identity: GroupIdentity; readonly reason: GroupDropReason }
  /** The group will not come, and nothing may take its place: its batch will never be complete. */
  | { readonly type: "group-lost"; readonly identity: GroupIdentity; readonly reason: string }
  | { readonly type: "batch-ready"; readonly batch: BatchName };

type Step = Transition<ConductorState, ConductorEffect>;

export interface ConductorOptions {
  readonly uid: string;
  readonly incarnation: number;
  readonly fingerprint: string;
  /** Samples per work item at most. Default: whole groups. */
  readonly itemSamples?: number;
  /** Of a resumed run's surviving lineage (T1). Default: nothing happened yet. */
  readonly ledger?: Ledger;
  readonly nowMs: number;
}

/** A conductor that has issued nothing. */
export function createConductor(options: ConductorOptions): ConductorState {
  return {
    uid: options.uid,
    incarnation: options.incarnation,
    fingerprint: options.fingerprint,
    itemSamples: options.itemSamples ?? Number.MAX_SAFE_INTEGER,
    stage: -1,
    plan: undefined,
    trained: 0,
    issuedSteps: 0,
    published: [],
    batches: {},
    stream: undefined,
    ledger: continuedLedger(options.ledger),
    lastProgressMs: options.nowMs,
  };
}

/** Applies one event. Never throws; an event that does not apply changes nothing. */
export function conduct(state: ConductorState, event: TimedEvent): Step {
  // The rule's parameter is the event of its own name: the index ties them, which the checker cannot follow.
  const rule = rules[event.type] as (state: ConductorState, event: TimedEvent) => Step;
  return rule(state, event);
}

type Rule<Type> = (state: ConductorState, event: Extract<TimedEvent, { type: Type }>) => Step;

const rules: { readonly [Type in ConductorEvent["type"]]: Rule<Type> } = {
  "stage-began": (before, { stage, plan, trained, published, stream, nowMs }) => {
    const left = dropGroups(before, outstanding(before), "stage-ended");
    const began = issueRollouts(
      {
        ...left.state,
        stage,
        plan,
        trained,
        issuedSteps: trained,
        published,
        batches: {},
        stream: stream && openStream(stream.plan, trained, stream.cursor),
        lastProgressMs: nowMs,
      },
      nowMs,
    );
    return { state: began.state, effects: [...left.effects, ...began.effects] };
  },

  published: (state, { policy, nowMs }) =>
    issueRollouts(
      {
        ...state,
        published: [...state.published, policy].slice(-keptPolicies(state)),
        lastProgressMs: nowMs,
      },
      nowMs,
    ),

  "evaluation-began": (state, { step, policy, groupSizes, window, nowMs }) => {
    const batch = openBatch({ purpose: "evaluation", stage: state.stage, step, policy, groupSizes, window });
    if (state.batches[batchKey(batch)] !== undefined) return quiet(state);
    return issueInto({ ...state, lastProgressMs: nowMs }, batch, nowMs);
  },

  received: (state, { message, nowMs }) => {
    const { identity } = message;
    const reason = refusal(state, message);
    if (reason !== undefined) return dropped(state, message, { reason, nowMs });
    if (identity.purpose === "rollout" && state.stream !== undefined) {
      return receiveStreamed(state, state.stream, { message, nowMs });
    }
    const batch = state.batches[batchKey(identity)];
    if (batch === undefined) return dropped(state, message, { reason: "unissued", nowMs });
    const marked = markSamples(batch, identity.group, message.samples);
    const ledger = countFailed(state.ledger, message, marked.fresh);
    const next = issueInto({ ...state, ledger, lastProgressMs: nowMs }, marked.batch, nowMs);
    const keep: ConductorEffect = { type: "keep", identity, samples: marked.fresh };
    const isReady = isComplete(marked.batch) && !isComplete(batch);
    const ready: ConductorEffect[] = isReady ? [{ type: "batch-ready", batch: nameOf(batch) }] : [];
    return { state: next.state, effects: [keep, ...next.effects, ...ready] };
  },

  parked: (state, { identity, incarnation, reason, nowMs }) => {
    const { uid, stage, stream } = state;
    if (identity.uid !== uid || incarnation !== state.incarnation) return quiet(state);
    if (identity.purpose === "rollout" && stream !== undefined && identity.stage === stage) {
      const number = numberOf(stream.plan, identity) ?? -1;
      if (stream.open[number] === undefined) return quiet(state);
      return dropOpen(state, stream, { number, reason: "unreadable", nowMs });
    }
    const group = state.batches[batchKey(identity)]?.groups[identity.group];
    const isOut = group !== undefined && group.remaining > 0 && identity.draw === 0;
    return isOut
      ? { state, effects: [lostGroup(identity, `a message of it is parked: ${reason}`)] }
      : quiet(state);
  },

  "batch-used": (state, { batch, nowMs }) => {
    if (batch.purpose === "rollout" && state.stream !== undefined) {
      return useStreamed(state, state.stream, { batch, nowMs });
    }
    const key = batchKey(batch);
    const used = state.batches[key];
    if (used === undefined || !isComplete(used)) return quiet(state);
    const { [key]: _, ...batches } = state.batches;
    const count = used.groupSizes.length;
    const isRollout = batch.purpose === "rollout";
    const ledger: Ledger = {
      ...state.ledger,
      groupsTrained: state.ledger.groupsTrained + (isRollout ? count : 0),
      groupsEvaluated: state.ledger.groupsEvaluated + (isRollout ? 0 : count),
    };
    const trained = isRollout ? Math.max(state.trained, batch.step + 1) : state.trained;
    return issueRollouts({ ...state, batches, ledger, trained, lastProgressMs: nowMs }, nowMs);
  },
};

function countFailed(ledger: Ledger, { samples }: ScoredHead, fresh: readonly number[]): Ledger {
  const failed = samples.filter(({ status, sample }) => status === "failed" && fresh.includes(sample));
  return { ...ledger, samplesFailed: ledger.samplesFailed + failed.length };
}

/** A message of a stream that may count. */
function receiveStreamed(
  state: ConductorState,
  before: StreamState,
  { message, nowMs }: { readonly message: ScoredHead; readonly nowMs: number },
): Step {
  const { identity, samples: verdicts, policies } = message;
  const number = numberOf(before.plan, identity) ?? -1;
  const oldest = Math.min(...policies.map((policy) => policy.number));
  const { stream, fresh, completed } = admitSamples(before, number, { verdicts, oldest });
  const ledger = countFailed(state.ledger, message, fresh);
  const keep: ConductorEffect = { type: "keep", identity, samples: fresh };
  const batch: BatchName = { purpose: "rollout", stage: state.stage, step: stream.trained };
  const isReady = completed && nextBatch(stream) !== undefined;
  const ready: ConductorEffect[] = isReady ? [{ type: "batch-ready", batch }] : [];
  return { state: { ...state, stream, ledger, lastProgressMs: nowMs }, effects: [keep, ...ready] };
}

/** The next batch of a stream was trained on; what is too old from now on is dropped, and others are issued. */
function useStreamed(
  state: ConductorState,
  before: StreamState,
  { batch, nowMs }: { readonly batch: BatchName; readonly nowMs: number },
): Step {
  if (batch.step !== before.trained || nextBatch(before) === undefined) return quiet(state);
  const { stream, stale } = useBatch(before);
  const { groupsTrained } = state.ledger;
  const ledger = { ...state.ledger, groupsTrained: groupsTrained + before.plan.groupsPerStep };
  const used = { ...state, stream, ledger, trained: stream.trained, lastProgressMs: nowMs };
  return dropAndIssue(used, stale, { reason: "stale", nowMs });
}

/** Drops groups of a stream; others take their places. */
function dropAndIssue(
  state: ConductorState,
  numbers: readonly number[],
  { reason, nowMs }: { readonly reason: GroupDropReason; readonly nowMs: number },
): Step {
  const groups = numbers.map((number) => streamedIdentity(state, number));
  const dropping = dropGroups(state, groups, reason);
  const issued = issueRollouts(dropping.state, nowMs);
  return { state: issued.state, effects: [...dropping.effects, ...issued.effects] };
}

/** Records groups as dropped (T1). */
function dropGroups(
  state: ConductorState,
  groups: readonly GroupIdentity[],
  reason: GroupDropReason,
): Step {
  const ledger = groups.reduce((sum) => countGroupDropped(sum, reason), state.ledger);
  const drops = groups.map((identity): ConductorEffect => ({ type: "drop-group", identity, reason }));
  return { state: { ...state, ledger }, effects: drops };
}

/** Rollout groups that were issued and are not trained on. */
function outstanding(state: ConductorState): GroupIdentity[] {
  const { uid, stream, batches } = state;
  if (stream !== undefined)
    return streamCursor(stream).outstanding.map((number) => streamedIdentity(state, number));
  return Object.values(batches)
    .filter(({ purpose }) => purpose === "rollout")
    .flatMap((batch) => batch.groups.map((_, group) => ({ uid, ...nameOf(batch), group, draw: 0 })));
}

function streamedIdentity({ uid, stage, stream }: ConductorState, number: number): GroupIdentity {
  const place = stream === undefined ? { step: 0, group: number } : placeOf(stream.plan, number);
  return { uid, purpose: "rollout", stage, ...place, draw: 0 };
}

function lostGroup(identity: GroupIdentity, reason: string): ConductorEffect {
  return { type: "group-lost", identity, reason };
}

function nameOf({ purpose, stage, step }: BatchName): BatchName {
  return { purpose, stage, step };
}

/** What was asked for is answered by what may not count. In a stream the group goes with it; else nothing may take its place. */
function dropped(
  state: ConductorState,
  message: ScoredHead,
  { reason, nowMs }: { readonly reason: DropReason; readonly nowMs: number },
): Step {
  const { identity } = message;
  const counted = { ...state, ledger: countMessageDropped(state.ledger, reason) };
  const detail = refusalDetail(state, message, reason);
  const drop: ConductorEffect = { type: "drop", identity, reason, detail };
  const groupReason = GROUP_DROP_REASONS.find((known) => known === reason);
  if (groupReason === undefined) return { state: counted, effects: [drop] };
  const { stream } = state;
  if (stream === undefined || identity.purpose !== "rollout") {
    const isOurs = message.incarnation === state.incarnation;
    return { state: counted, effects: isOurs ? [drop, lostGroup(identity, detail)] : [drop] };
  }
  const number = numberOf(stream.plan, identity) ?? -1;
  const { state: next, effects } = dropOpen(counted, stream, { number, reason: groupReason, nowMs });
  return { state: next, effects: [drop, ...effects] };
}

/** Drops an open group of a stream; another takes its place. */
function dropOpen(
  state: ConductorState,
  stream: StreamState,
  of: { readonly number: number; readonly reason: GroupDropReason; readonly nowMs: number },
): Step {
  const numbers = [of.number];
  const without = { ...state, stream: removeOpen(stream, numbers), lastProgressMs: of.nowMs };
  return dropAndIssue(without, numbers, of);
}

/** Policies that untrained work can still ask for, or come from: one per step in flight, and the newest. */
function keptPolicies({ plan, stream }: ConductorState): number {
  return (plan?.lag ?? stream?.plan.maxStaleness ?? 0) + 2;
}

/** Issues what the mode's pacing allows. */
function issueRollouts(state: ConductorState, nowMs: number): Step {
  return state.stream === undefined ? issueSteps(state, nowMs) : issueStream(state, state.stream, nowMs);
}

function issueStream(state: ConductorState, before: StreamState, nowMs: number): Step {
  const newest = state.published.at(-1);
  if (newest === undefined) return quiet(state);
  const { stream, numbers } = issueNumbers(before, newest, nowMs);
  if (numbers.length === 0) return quiet(state);
  const ledger = { ...state.ledger, groupsIssued: state.ledger.groupsIssued + numbers.length };
  const next = { ...state, stream, ledger };
  const size = stream.plan.samplesPerGroup;
  const items = numbers.flatMap((number) =>
    splitItems(state.itemSamples, size, {
      identity: streamedIdentity(next, number),
      policy: newest,
      followNewest: true,
    }),
  );
  return { state: next, effects: [{ type: "issue", items }] };
}

/** Opens every step that lockstep allows and whose policy is published. */
function issueSteps(state: ConductorState, nowMs: number): Step {
  const { plan } = state;
  let at: Step = quiet(state);
  if (plan === undefined) return at;
  for (let step = state.issuedSteps; step < issueLimit(plan, at.state.trained); step++) {
    const number = policyNumberOfStep(plan, step);
    const policy = state.published.findLast((candidate) => candidate.number === number);
    if (policy === undefined) break;
    const groupSizes = Array.from({ length: plan.groupsPerStep }, () => plan.samplesPerGroup);
    const name: BatchName = { purpose: "rollout", stage: state.stage, step };
    const batch = openBatch({ ...name, policy, groupSizes, window: groupSizes.length });
    const issued = issueInto({ ...at.state, issuedSteps: step + 1 }, batch, nowMs);
    at = { state: issued.state, effects: [...at.effects, ...issued.effects] };
  }
  return at;
}

/** Puts `batch` into the state after issuing what its window has room for. */
function issueInto(state: ConductorState, batch: BatchState, nowMs: number): Step {
  const { batch: filled, issued } = issueGroups(batch, nowMs);
  const batches = { ...state.batches, [batchKey(batch)]: filled };
  if (issued.length === 0) return quiet({ ...state, batches });
  const ledger = { ...state.ledger, groupsIssued: state.ledger.groupsIssued + issued.length };
  const items = issued.flatMap((group) => itemsOf(state, filled, group));
  return { state: { ...state, batches, ledger }, effects: [{ type: "issue", items }] };
}

function itemsOf(state: ConductorState, batch: BatchState, group: number): WorkItem[] {
  const identity: GroupIdentity = { uid: state.uid, ...nameOf(batch), group, draw: 0 };
  const { policy } = batch;
  return splitItems(state.itemSamples, batch.groupSizes[group] ?? 0, {
    identity,
    policy,
    followNewest: false,
  });
}

function splitItems(
  itemSamples: number,
  size: number,
  head: Omit<WorkItem, "firstSample" | "samples">,
): WorkItem[] {
  const items: WorkItem[] = [];
  for (let firstSample = 0; firstSample < size; firstSample += itemSamples) {
    items.push({ ...head, firstSample, samples: Math.min(itemSamples, size - firstSample) });
  }
  return items;
}

/** Rollout groups issued and not yet trained: what Q1 bounds by (η + 1) · B. */
export function rolloutGroupsInFlight({ batches, stream }: ConductorState): number {
  return Object.values(batches)
    .filter((batch) => batch.purpose === "rollout")
    .reduce((sum, batch) => sum + batch.groups.length, stream === undefined ? 0 : streamInFlight(stream));
}

/** Groups out with actors or reward workers, of any purpose. */
export function groupsOut({ batches, stream }: ConductorState): number {
  const streamed = Object.keys(stream?.open ?? {}).length;
  return Object.values(batches).reduce((sum, batch) => sum + groupsInFlight(batch), streamed);
}

/** The groups of the batch of that name, in the order in which they are trained, if every one of them is complete. */
export function readyBatch(state: ConductorState, name: BatchName): readonly GroupIdentity[] | undefined {
  const { stream, uid } = state;
  if (name.purpose === "rollout" && stream !== undefined) {
    const isNext = name.stage === state.stage && name.step === stream.trained;
    return isNext ? nextBatch(stream)?.map((number) => streamedIdentity(state, number)) : undefined;
  }
  const batch = state.batches[batchKey(name)];
  if (batch === undefined || !isComplete(batch)) return undefined;
  return batch.groupSizes.map((_, group) => ({ uid, ...nameOf(batch), group, draw: 0 }));
}
