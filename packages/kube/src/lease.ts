/**
 * Leader election as a pure rule over a Lease: what to do, given what is written there and when it was last seen to change.
 * Only changes seen with the own clock count, so clocks of machines need not agree. It is no fencing: every write of a
 * leader must be safe beside that of another.
 */

/** The part of a Lease that elects. */
export interface LeaseRecord {
  readonly holder: string;
  readonly leaseSeconds: number;
  readonly acquireTime: string;
  readonly renewTime: string;
  readonly transitions: number;
}

/** A record, and when it was first seen in this form (own monotonic clock). */
export interface SeenLease {
  readonly record: LeaseRecord;
  readonly sinceMs: number;
}

export interface Candidate {
  readonly identity: string;
  readonly leaseSeconds: number;
}

/** Write this record, or wait. */
export type LeaseDecision =
  | { readonly type: "write"; readonly record: LeaseRecord }
  | { readonly type: "wait"; readonly holder: string };

/** What a candidate does now; `seen` is undefined where there is no Lease. */
export function decideLease(
  seen: SeenLease | undefined,
  { identity, leaseSeconds }: Candidate,
  now: { readonly monotonicMs: number; readonly time: string },
): LeaseDecision {
  const record = seen?.record;
  if (record?.holder === identity)
    return { type: "write", record: { ...record, leaseSeconds, renewTime: now.time } };
  const expired = seen === undefined || now.monotonicMs - seen.sinceMs >= seen.record.leaseSeconds * 1000;
  if (record !== undefined && record.holder !== "" && !expired)
    return { type: "wait", holder: record.holder };
  return {
    type: "write",
    record: {
      holder: identity,
      leaseSeconds,
      acquireTime: now.time,
      renewTime: now.time,
      transitions: record === undefined ? 0 : record.transitions + 1,
    },
  };
}

/** The record that hands the lead over at once. */
export function releasedLease(record: LeaseRecord, time: string): LeaseRecord {
  return { ...record, holder: "", leaseSeconds: 1, renewTime: time };
}

/** Notes when a record was first seen: the same record keeps its time. */
export function seeLease(
  before: SeenLease | undefined,
  record: LeaseRecord | undefined,
  nowMs: number,
): SeenLease | undefined {
  if (record === undefined) return undefined;
  const same = before?.record.renewTime === record.renewTime && before.record.holder === record.holder;
  return same ? before : { record, sinceMs: nowMs };
}
