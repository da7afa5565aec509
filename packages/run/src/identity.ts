/**
 * Who a group of samples is, and which weights made it. Identity, never a broker's window, upholds T1.
 *
 * Nothing here knows of messages: the services translate the contract's records to and from these.
 */

/** What work is for; the words are those of the sampling key (D2). */
export type WorkPurpose = "rollout" | "evaluation";

/** A group of samples of one prompt: stable over retries, redeliveries and restarts. */
export interface GroupIdentity {
  /** Of the run: made at creation, kept across resumes. */
  readonly uid: string;
  readonly purpose: WorkPurpose;
  /** Index of the stage in the plan. */
  readonly stage: number;
  /**
   * Rollout: the step whose batch the group belongs to (0-based); in streaming mode the place of the group in the data says
   * step and group, and the order of completion says what trains on it. Evaluation: steps trained before it. */
  readonly step: number;
  readonly group: number;
  /** Raised by a deliberate resample, never by a redelivery. */
  readonly draw: number;
}

/** A policy version is a number and a digest: the same number with other bytes is another policy (W2). */
export interface PolicyVersion {
  readonly number: number;
  /** SHA-256 (hex) of the flat weights. */
  readonly digest: string;
}

/** Names a batch: all groups of one purpose, stage and step. */
export type BatchName = Pick<GroupIdentity, "purpose" | "stage" | "step">;

/** The key of a batch in maps and in JSON. */
export function batchKey(batch: BatchName): string {
  return `${batch.purpose}/${batch.stage}/${batch.step}`;
}

/** The key of a group in maps and in JSON; unique within a run. */
export function groupKey(identity: Omit<GroupIdentity, "uid">): string {
  return `${batchKey(identity)}/${identity.group}/${identity.draw}`;
}

/** Whether two versions are the same policy: number and digest. */
export function isSamePolicy(a: PolicyVersion, b: PolicyVersion): boolean {
  return a.number === b.number && a.digest === b.digest;
}
