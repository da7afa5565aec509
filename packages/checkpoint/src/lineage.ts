/**
 * Which checkpoints are a run's past (F1), as pure data. Each incarnation says what it continued from; whatever an older
 * incarnation wrote after that point was written by a superseded learner, and counts for nothing.
 */

/** A checkpoint's place: within an incarnation, the later (step, revision) is the newer. */
export interface CheckpointPlace {
  readonly incarnation: number;
  readonly step: number;
  /** 0, or how often this step was written before by the same incarnation. */
  readonly revision: number;
}

/** What lies on disk for one incarnation. */
export interface IncarnationRecord {
  readonly incarnation: number;
  /** What it continued from; null for a fresh start. */
  readonly base: CheckpointPlace | null;
  readonly places: readonly CheckpointPlace[];
}

/** Negative when `left` is older, by (incarnation, step, revision). */
export function comparePlaces(left: CheckpointPlace, right: CheckpointPlace): number {
  return left.incarnation - right.incarnation || left.step - right.step || left.revision - right.revision;
}

/** The surviving lineage, newest first. */
export function survivingLineage(records: readonly IncarnationRecord[]): CheckpointPlace[] {
  const byIncarnation = new Map(records.map((record) => [record.incarnation, record]));
  const lineage: CheckpointPlace[] = [];
  let at = [...byIncarnation.values()].reduce<IncarnationRecord | undefined>(
    (newest, record) => (newest === undefined || record.incarnation > newest.incarnation ? record : newest),
    undefined,
  );
  let limit: CheckpointPlace | undefined;
  while (at !== undefined) {
    const upTo = limit;
    const counted = at.places.filter((place) => upTo === undefined || comparePlaces(place, upTo) <= 0);
    lineage.push(...counted.toSorted((left, right) => comparePlaces(right, left)));
    const { base, incarnation }: IncarnationRecord = at;
    // A base always points down: a damaged record cannot make this loop forever.
    at = base !== null && base.incarnation < incarnation ? byIncarnation.get(base.incarnation) : undefined;
    limit = base ?? undefined;
  }
  return lineage;
}
