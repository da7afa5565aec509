/**
 * The payloads of groups under collection: what the conductor decided to keep, until its batch is used or the group is
 * dropped. Bounded by the conductor's own bound (Q1). Order is by group and sample, never by arrival (D1).
 */
import type { Trajectory } from "@oarlock/proto";
import { groupKey } from "@oarlock/run";
import type { GroupIdentity } from "@oarlock/run";

export interface Collection {
  /** Keeps the trajectories of the named samples. */
  keep(identity: GroupIdentity, trajectories: readonly Trajectory[], samples: readonly number[]): void;
  /** Takes complete groups out: trajectories `[group][sample]`, in the order asked for. */
  take(groups: readonly GroupIdentity[]): Trajectory[][];
  /** Lets go of what was kept of a group. */
  forget(identity: GroupIdentity): void;
}

/** An empty collection. */
export function createCollection(): Collection {
  const groups = new Map<string, readonly Trajectory[]>();
  return {
    keep(identity, trajectories, samples) {
      const key = groupKey(identity);
      const kept = trajectories.filter(({ sample }) => samples.includes(sample));
      groups.set(key, [...(groups.get(key) ?? []), ...kept]);
    },
    take: (identities) =>
      identities.map((identity) => {
        const kept = groups.get(groupKey(identity)) ?? [];
        groups.delete(groupKey(identity));
        return kept.toSorted((a, b) => a.sample - b.sample);
      }),
    forget: (identity) => void groups.delete(groupKey(identity)),
  };
}
