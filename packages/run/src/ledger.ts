/** What became of groups and messages since the run began: the record that T1 is checked against. */
import { DROP_REASONS } from "./admission.ts";
import type { DropReason } from "./admission.ts";

/** Why a group that was issued is never trained on; but for the last, in streaming mode only (D1c). */
export const GROUP_DROP_REASONS = [
  /** The oldest weights in it are more than `maxStaleness` versions behind those that would train on it. */
  "stale",
  /** Part of it was made by weights that this learner did not publish (W2). */
  "unknown-policy",
  /** Part of it was made by another engine, plan or instruction set (D1b). */
  "other-fingerprint",
  /** A message of it is parked: nobody can read it, and no other will come. */
  "unreadable",
  /** A guard or an evaluation ended the stage before its last step. */
  "stage-ended",
] as const;
export type GroupDropReason = (typeof GROUP_DROP_REASONS)[number];

/** Groups by what became of them, and messages dropped by reason, in the surviving lineage. */
export interface Ledger {
  readonly groupsIssued: number;
  readonly groupsTrained: number;
  readonly groupsEvaluated: number;
  readonly groupsDropped: Readonly<Record<GroupDropReason, number>>;
  readonly samplesFailed: number;
  readonly messagesDropped: Readonly<Record<DropReason, number>>;
}

function noneOf<Reason extends string>(reasons: readonly Reason[]): Record<Reason, number> {
  // `fromEntries` forgets its keys; they are exactly `reasons`.
  return Object.fromEntries(reasons.map((reason) => [reason, 0])) as Record<Reason, number>;
}

/** Of a run that has issued nothing. */
export function emptyLedger(): Ledger {
  return {
    groupsIssued: 0,
    groupsTrained: 0,
    groupsEvaluated: 0,
    groupsDropped: noneOf(GROUP_DROP_REASONS),
    samplesFailed: 0,
    messagesDropped: noneOf(DROP_REASONS),
  };
}

/** A ledger as it was written, perhaps by a version that counted less. */
export function continuedLedger(written: Partial<Ledger> = {}): Ledger {
  const empty = emptyLedger();
  return {
    ...empty,
    ...written,
    groupsDropped: { ...empty.groupsDropped, ...written.groupsDropped },
    messagesDropped: { ...empty.messagesDropped, ...written.messagesDropped },
  };
}

/** Groups dropped, for any reason. */
export function groupsDropped(ledger: Ledger): number {
  return Object.values(ledger.groupsDropped).reduce((sum, count) => sum + count, 0);
}

/** Counts a message without effect. */
export function countMessageDropped(ledger: Ledger, reason: DropReason): Ledger {
  const counts = ledger.messagesDropped;
  return { ...ledger, messagesDropped: { ...counts, [reason]: counts[reason] + 1 } };
}

/** Counts a group that will not be trained on. */
export function countGroupDropped(ledger: Ledger, reason: GroupDropReason): Ledger {
  const counts = ledger.groupsDropped;
  return { ...ledger, groupsDropped: { ...counts, [reason]: counts[reason] + 1 } };
}
