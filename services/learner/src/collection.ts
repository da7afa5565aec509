/**
 * The payloads of groups under collection: what the conductor decided to keep, until its batch is used. Bounded by the
 * conductor's own bound (Q1). Order is by group and sample, never by arrival (D1).
 */
import type { Trajectory } from "@oarlock/proto";
import { batchKey } from "@oarlock/run";
import type { BatchName, BatchState, GroupIdentity } from "@oarlock/run";

export interface Collection {
  /** Keeps the trajectories of the named samples. */
  keep(identity: GroupIdentity, trajectories: readonly Trajectory[], samples: readonly number[]): void;
  /** Takes a complete batch out: trajectories `[group][sample]`. */
  take(batch: BatchState): Trajectory[][];
}

/** An empty collection. */
export function createCollection(): Collection {
  const batches = new Map<string, Map<number, Trajectory[]>>();
  const groupsOf = (batch: BatchName): Map<number, Trajectory[]> => {
    const key = batchKey(batch);
    const known = batches.get(key) ?? new Map<number, Trajectory[]>();
    batches.set(key, known);
    return known;
  };
  return {
    keep(identity, trajectories, samples) {
      const groups = groupsOf(identity);
      const kept = trajectories.filter(({ sample }) => samples.includes(sample));
      groups.set(identity.group, [...(groups.get(identity.group) ?? []), ...kept]);
    },
    take(batch) {
      const groups = groupsOf(batch);
      batches.delete(batchKey(batch));
      return batch.groupSizes.map((_, group) =>
        (groups.get(group) ?? []).toSorted((a, b) => a.sample - b.sample),
      );
    },
  };
}
