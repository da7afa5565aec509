/**
 * The conductor: issues work, admits what comes back, says when a batch is complete. A pure reducer; it holds no
 * clients, clocks or payloads, and its state is plain JSON.
 *
 *   T1  Every issued group is admitted into exactly one batch, by identity, whatever arrives twice, late or from elsewhere.
 *   D1  The batch of step k is made by exactly policy base + max(0, k − η); nothing depends on order of arrival.
 *   D1c Nothing is dropped for its age: a wait ends as a stall that is reported, never as a missing group.
 *   Q1  Rollout groups in flight never exceed (η + 1) · B; those of an evaluation never exceed its window.
 *   W2  A message counts only with the number and digest of the policy that its work was issued for.
 */
import { groupsInFlight, isComplete, issueGroups, markSamples, openBatch } from "./batch.ts";
import type { BatchState } from "./batch.ts";
import { DROP_REASONS, refusal } from "./admission.ts";
import type { DropReason, ScoredHead } from "./admission.ts";
import { batchKey } from "./identity.ts";
import type { BatchName, GroupIdentity, PolicyVersion } from "./identity.ts";
import { issueLimit, policyNumberOfStep } from "./lockstep.ts";
import type { LockstepPlan } from "./lockstep.ts";
import { quiet } from "./transition.ts";
import type { Transition } from "./transition.ts";

/** What one rollout stage asks of the conductor. */
export interface RolloutPlan extends LockstepPlan {
  readonly groupsPerStep: number;
  readonly samplesPerGroup: number;
}

/** An order to actors: samples `firstSample` … `firstSample + samples − 1` of a group, by exactly `policy`. */
export interface WorkItem {
  readonly identity: GroupIdentity;
  readonly policy: PolicyVersion;
  readonly firstSample: number;
  readonly samples: number;
}

/** Groups issued, trained or evaluated, and messages dropped by reason, since the run began (T1). */
export interface Ledger {
  readonly groupsIssued: number;
  readonly groupsTrained: number;
  readonly groupsEvaluated: number;
  readonly samplesFailed: number;
  readonly messagesDropped: Readonly<Record<DropReason, number>>;
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
  | { readonly type: "batch-used"; readonly batch: BatchName };

/** Every event carries the time at which it is applied, for waits only: no decision depends on it (D1c). */
export type TimedEvent = ConductorEvent & { readonly nowMs: number };

export type ConductorEffect =
  | { readonly type: "issue"; readonly items: readonly WorkItem[] }
  /** Keep the payload of these samples; the others of the message are duplicates. */
  | { readonly type: "keep"; readonly identity: GroupIdentity; readonly samples: readonly number[] }
  | { readonly type: "drop"; readonly identity: GroupIdentity; readonly reason: DropReason }
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
    ledger: options.ledger ?? emptyLedger(),
    lastProgressMs: options.nowMs,
  };
}

function emptyLedger(): Ledger {
  const none = Object.fromEntries(DROP_REASONS.map((reason) => [reason, 0]));
  return {
    groupsIssued: 0,
    groupsTrained: 0,
    groupsEvaluated: 0,
    samplesFailed: 0,
    // `fromEntries` forgets its keys; they are exactly DROP_REASONS.
    messagesDropped: none as Record<DropReason, number>,
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
  "stage-began": (state, { stage, plan, trained, published, nowMs }) =>
    issueSteps(
      { ...state, stage, plan, trained, issuedSteps: trained, published, batches: {}, lastProgressMs: nowMs },
      nowMs,
    ),

  published: (state, { policy, nowMs }) =>
    issueSteps(
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
    if (reason !== undefined) return dropped(state, identity, reason);
    const batch = state.batches[batchKey(identity)];
    if (batch === undefined) return dropped(state, identity, "unissued");
    const marked = markSamples(batch, identity.group, message.samples);
    const failed = message.samples.filter((s) => s.status === "failed" && marked.fresh.includes(s.sample));
    const ledger = { ...state.ledger, samplesFailed: state.ledger.samplesFailed + failed.length };
    const next = issueInto({ ...state, ledger, lastProgressMs: nowMs }, marked.batch, nowMs);
    const keep: ConductorEffect = { type: "keep", identity, samples: marked.fresh };
    const isReady = isComplete(marked.batch) && !isComplete(batch);
    const ready: ConductorEffect[] = isReady ? [{ type: "batch-ready", batch: nameOf(batch) }] : [];
    return { state: next.state, effects: [keep, ...next.effects, ...ready] };
  },

  "batch-used": (state, { batch, nowMs }) => {
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
    return issueSteps({ ...state, batches, ledger, trained, lastProgressMs: nowMs }, nowMs);
  },
};

function nameOf({ purpose, stage, step }: BatchName): BatchName {
  return { purpose, stage, step };
}

function dropped(state: ConductorState, identity: GroupIdentity, reason: DropReason): Step {
  const counts = state.ledger.messagesDropped;
  const messagesDropped = { ...counts, [reason]: counts[reason] + 1 };
  return {
    state: { ...state, ledger: { ...state.ledger, messagesDropped } },
    effects: [{ type: "drop", identity, reason }],
  };
}

/** Policies that untrained work can still ask for: one per step in flight. */
function keptPolicies(state: ConductorState): number {
  return (state.plan?.lag ?? 0) + 2;
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
  const size = batch.groupSizes[group] ?? 0;
  const items: WorkItem[] = [];
  for (let first = 0; first < size; first += state.itemSamples) {
    const samples = Math.min(state.itemSamples, size - first);
    items.push({ identity, policy: batch.policy, firstSample: first, samples });
  }
  return items;
}

/** Rollout groups issued and not yet trained: what Q1 bounds by (η + 1) · B. */
export function rolloutGroupsInFlight(state: ConductorState): number {
  return Object.values(state.batches)
    .filter((batch) => batch.purpose === "rollout")
    .reduce((sum, batch) => sum + batch.groups.length, 0);
}

/** Groups out with actors or reward workers, of any purpose. */
export function groupsOut(state: ConductorState): number {
  return Object.values(state.batches).reduce((sum, batch) => sum + groupsInFlight(batch), 0);
}

/** The batch of that name if every group of it is complete. */
export function readyBatch(state: ConductorState, name: BatchName): BatchState | undefined {
  const batch = state.batches[batchKey(name)];
  return batch !== undefined && isComplete(batch) ? batch : undefined;
}
