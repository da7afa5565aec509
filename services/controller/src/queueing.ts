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
import type { Deployment, Pod, PoolRole, TrainingRun } from "./api.ts";
import type { Fields } from "./children/pod-parts.ts";
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

/** What there is of a run's groups. */
export interface GroupFacts {
  /** The group that its Deployments make pods of. */
  readonly present: string | undefined;
  /** Pods that live, and those that are lost with their nodes. */
  readonly pods: readonly Pod[];
  readonly lost: readonly Pod[];
}

/**
 * The group of a run that waits in a queue: another where the pods' templates or their number are others (K1), and where the one that
 * is there can work no more, as a lost pod keeps its place for good (K4).
 */
export function groupOf(
  run: TrainingRun,
  templates: readonly Fields[],
  facts: GroupFacts,
): Group | undefined {
  if (queueOf(run) === undefined) return undefined;
  const size = 1 + POOL_ROLES.reduce((sum, role) => sum + groupShare(run, role), 0);
  const digest = digestOf([size, ...templates]).slice(0, DIGEST_CHARACTERS);
  const nameOf = (number: number): string =>
    childName(run.metadata.name, number === 0 ? `group-${digest}` : `group-${digest}-${number}`);
  let number = Number(new RegExp(`-${digest}-(\\d+)$`).exec(facts.present ?? "")?.[1] ?? 0);
  while (isCrippled(run, nameOf(number), facts)) number++;
  return { name: nameOf(number), size };
}

/** Whether a group has lost its learner, or all pods of another role. */
function isCrippled(run: TrainingRun, group: string, { pods, lost }: GroupFacts): boolean {
  // Another learner would be no younger than the lost one (F1).
  if (run.spec.storage?.type === "emptyDir") return false;
  const roles = (of: readonly Pod[]): readonly unknown[] =>
    of
      .filter(({ metadata }) => metadata.labels?.[GROUP] === group)
      .map(({ metadata }) => metadata.labels?.[ROLE_LABEL]);
  const living = new Set(roles(pods));
  return roles(lost).some((role) => role === "learner" || !living.has(role));
}

/** Of a group's pods of a role, how many are about to end, or lost: none is made in their place before they have ended (K4). */
export function leavingOf(
  { name }: Group,
  role: PoolRole,
  { pods, lost }: Omit<GroupFacts, "present">,
): number {
  // Those that Kueue deletes because they are too many never had a node.
  const leaves = ({ metadata: { labels, deletionTimestamp }, spec }: Pod): boolean =>
    deletionTimestamp !== undefined &&
    spec?.nodeName !== undefined &&
    labels?.[GROUP] === name &&
    labels[ROLE_LABEL] === role;
  return [...pods, ...lost].filter(leaves).length;
}

/** The group that a Deployment makes pods of. */
export function groupIn(deployment: Deployment | undefined): string | undefined {
  return deployment?.spec?.template?.metadata?.labels?.[GROUP];
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
