/**
 * Runs that wait for quota. With Kueue's queue label on a run, its learner and the least number of its actors and reward workers are
 * one pod group, admitted together or not at all; pods beyond are admitted one by one. Kueue gates the pods itself: nothing here
 * speaks to it. Pure.
 */
import type { Pod, PoolRole, TrainingRun } from "./api.ts";
import { POOL_ROLES, roleSpec } from "./roles.ts";
import { childName } from "./names.ts";

type Fields = Readonly<Record<string, unknown>>;

/** Labels of Kueue's on a run: its queue, and its priority among those that wait. */
const KUEUE = "kueue.x-k8s.io/";
const QUEUE = `${KUEUE}queue-name`;
const GROUP = `${KUEUE}pod-group-name`;
const GROUP_SIZE = `${KUEUE}pod-group-total-count`;

/**
 * Without it a group waits for replacements of pods that ended, and keeps their quota: with it a group of which no pod is left, as of a
 * run that is suspended or complete, is over. While one is left, and while Kueue takes pods back, nothing changes.
 */
const RETRIABLE = `${KUEUE}retriable-in-group`;

/** How pods are admitted. */
export type Admission = "together" | "singly";

/** The queue that a run's pods wait in, where they do. */
export function queueOf({ metadata }: TrainingRun): string | undefined {
  return metadata.labels?.[QUEUE];
}

/** Pods of a role that are admitted with the learner. */
export function groupShare(run: TrainingRun, role: PoolRole): number {
  return Math.max(1, roleSpec(run, role).minReplicas ?? 1);
}

/**
 * Whether the group of a run has its quota: one of its pods has a node. Pods beyond are not asked for before: one of them could take
 * what the group is short of, and both would wait for ever.
 */
export function isGroupAdmitted(pods: readonly Pod[]): boolean {
  return pods.some(
    ({ metadata, status }) =>
      metadata.labels?.[GROUP] !== undefined &&
      metadata.deletionTimestamp === undefined &&
      status?.conditions?.some(({ type, status: is }) => type === "PodScheduled" && is === "True") === true,
  );
}

/** A pod template with what Kueue finds its pods by; as it was where the run names no queue. */
export function queued(template: Fields, run: TrainingRun, admission: Admission): Fields {
  if (queueOf(run) === undefined) return template;
  const metadata = template["metadata"] as { readonly labels?: object; readonly annotations?: object };
  const labels = Object.entries(run.metadata.labels ?? {}).filter(([name]) => name.startsWith(KUEUE));
  const total = 1 + POOL_ROLES.reduce((sum, role) => sum + groupShare(run, role), 0);
  const group = {
    labels: { [GROUP]: childName(run.metadata.name, "group") },
    annotations: { [GROUP_SIZE]: String(total), [RETRIABLE]: "false" },
  };
  const more = admission === "together" ? group : { labels: {}, annotations: {} };
  return {
    ...template,
    metadata: {
      ...metadata,
      labels: { ...metadata.labels, ...Object.fromEntries(labels), ...more.labels },
      annotations: { ...metadata.annotations, ...more.annotations },
    },
  };
}
