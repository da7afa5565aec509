/**
 * Runs that wait for quota. With Kueue's queue label on a run, its learner and the least number of its actors and reward workers are
 * one pod group, admitted together or not at all; pods beyond are admitted one by one. Kueue gates the pods itself: nothing here
 * speaks to it. Pure.
 *
 * What Kueue's groups ask of whoever makes their pods:
 * K1. A group has one size and one set of pod shapes: other templates are another group, and all pods of the first go.
 * K2. A pod that ends is replaced only where it failed; one that succeeded keeps its place for good (`OARLOCK_END_INTERRUPTED`).
 * K3. An ended pod stays until another takes its place, or until all have ended.
 * K4. A pod that is about to end is still one of the group: others beyond its size are deleted as fast as they are made.
 */
import { digestOf } from "@oarlock/runfile";
import type { Pod, PoolRole, TrainingRun } from "./api.ts";
import type { Fields } from "./children/pod-parts.ts";
import { losesFolder } from "./lost-nodes.ts";
import { deploymentOf, livePods, type Observed } from "./observed.ts";
import { POOL_ROLES, roleSpec } from "./roles.ts";
import { childName, ROLE_LABEL } from "./names.ts";

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

/** Pods that are admitted together. */
export interface Group {
  readonly name: string;
  readonly size: number;
  /** Whether it has its quota. */
  readonly admitted: boolean;
  /** Of its pods, how many are about to end, or lost: none is made in their place before they have ended (K4). */
  readonly leaving: Readonly<Record<PoolRole, number>>;
}

/** Characters of a digest in a group's name. */
const DIGEST_CHARACTERS = 8;

/** The queue that a run's pods wait in, where they do. */
export function queueOf({ metadata }: TrainingRun): string | undefined {
  return metadata.labels?.[QUEUE];
}

/** Pods of a role that are admitted with the learner. */
export function groupShare(run: TrainingRun, role: PoolRole): number {
  return Math.max(1, roleSpec(run, role).minReplicas ?? 1);
}

/** The group of a run that waits in a queue: another where the pods' templates or their number are others (K1). */
export function groupOf(observed: Observed, templates: readonly Fields[]): Group | undefined {
  const { run, lost = [] } = observed;
  if (queueOf(run) === undefined) return undefined;
  const size = 1 + POOL_ROLES.reduce((sum, role) => sum + groupShare(run, role), 0);
  const digest = digestOf([size, ...templates]).slice(0, DIGEST_CHARACTERS);
  const name = groupName(observed, digest);
  const pods = livePods(observed.pods);
  const leaving = rolesIn([...pods, ...lost].filter(holdsItsPlace), name);
  const count = (role: PoolRole): number => leaving.filter((one) => one === role).length;
  return {
    name,
    size,
    admitted: isAdmitted(pods),
    leaving: { actor: count("actor"), reward: count("reward") },
  };
}

/**
 * The group of those templates. Where one can work no more, since a lost pod keeps its place for good (K4), the next of its number; the
 * Deployments remember which it is.
 */
function groupName(observed: Observed, digest: string): string {
  const { run, lost = [] } = observed;
  const pods = livePods(observed.pods);
  const nameOf = (number: number): string =>
    childName(run.metadata.name, number === 0 ? `group-${digest}` : `group-${digest}-${number}`);
  const labels = deploymentOf(observed, "actor")?.spec?.template?.metadata?.labels;
  let number = Number(new RegExp(`-${digest}-(\\d+)$`).exec(labels?.[GROUP] ?? "")?.[1] ?? 0);
  // Where the run folder is gone with the node, another learner would be no younger than the lost one (F1).
  if (losesFolder(run)) return nameOf(number);
  while (hasLostRole(rolesIn(pods, nameOf(number)), rolesIn(lost, nameOf(number)))) number++;
  return nameOf(number);
}

/** The role of each pod that is of a group. */
function rolesIn(pods: readonly Pod[], group: string): readonly (string | undefined)[] {
  return pods
    .filter(({ metadata }) => metadata.labels?.[GROUP] === group)
    .map(({ metadata }) => metadata.labels?.[ROLE_LABEL]);
}

/** Whether the learner is lost, or all pods of another role. */
function hasLostRole(
  living: readonly (string | undefined)[],
  lost: readonly (string | undefined)[],
): boolean {
  return lost.some((role) => role === "learner" || !living.includes(role));
}

/** Whether a pod is about to end, and not yet out of its group. One that Kueue deletes because it was too many never had a node. */
function holdsItsPlace({ metadata, spec }: Pod): boolean {
  return metadata.deletionTimestamp !== undefined && spec?.nodeName !== undefined;
}

/**
 * Whether the group of a run has its quota: one of its pods has a node. Pods beyond are not asked for before: one of them could take
 * what the group is short of, and both would wait for ever.
 */
function isAdmitted(pods: readonly Pod[]): boolean {
  return pods.some(
    ({ metadata, status }) =>
      metadata.labels?.[GROUP] !== undefined &&
      metadata.deletionTimestamp === undefined &&
      status?.conditions?.some(({ type, status: is }) => type === "PodScheduled" && is === "True") === true,
  );
}

/** A pod template with what Kueue finds its pods by, in a group or one by one; as it was where the run names no queue. */
export function queued(template: Fields, run: TrainingRun, group?: Group): Fields {
  if (queueOf(run) === undefined) return template;
  const labels = Object.entries(run.metadata.labels ?? {}).filter(([name]) => name.startsWith(KUEUE));
  const noted = withMetadata(template, { labels: Object.fromEntries(labels) });
  if (group === undefined) return noted;
  return withMetadata(noted, {
    labels: { [GROUP]: group.name },
    annotations: { [GROUP_SIZE]: String(group.size), [RETRIABLE]: "false" },
  });
}

/** A pod template with more labels and annotations. */
export function withMetadata(
  template: Fields,
  more: { readonly labels?: object; readonly annotations?: object },
): Fields {
  const metadata = template["metadata"] as typeof more;
  return {
    ...template,
    metadata: {
      ...metadata,
      labels: { ...metadata.labels, ...more.labels },
      annotations: { ...metadata.annotations, ...more.annotations },
    },
  };
}
