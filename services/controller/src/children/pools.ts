/** A role that scales: its RolePool, the Deployment behind it, and the budget for disruptions. */
import type { PoolRole, RolePool, TrainingRun } from "../api.ts";
import { childName, COPIED_ANNOTATION, EXTRA_LABEL, extraPart, selectorLabels } from "../names.ts";
import { type Group, groupShare, queued, withMetadata } from "../queueing.ts";
import { roleSpec } from "../roles.ts";
import { type Child, child } from "./child.ts";
import type { Fields } from "./pod-parts.ts";

/** The pool without its number of pods, which others may own. */
export function rolePool(run: TrainingRun, role: PoolRole): Child {
  const { name } = run.metadata;
  const { minReplicas, maxReplicas } = roleSpec(run, role);
  const spec = {
    runName: name,
    role,
    ...(minReplicas === undefined ? {} : { minReplicas }),
    ...(maxReplicas === undefined ? {} : { maxReplicas }),
  };
  return child(run, { kind: "RolePool", name: childName(name, role), role }, { spec });
}

/** The number of pods of a pool, applied by a manager of its own, and the note that it was copied. */
export function poolScale(
  pool: Child,
  replicas: number,
): Pick<RolePool, "apiVersion" | "kind"> & {
  readonly metadata: { readonly name: string; readonly namespace: string; readonly annotations: object };
  readonly spec: { readonly replicas: number };
} {
  const { apiVersion, kind, metadata } = pool;
  const { name, namespace } = metadata;
  const annotations = { [COPIED_ANNOTATION]: String(replicas) };
  return { apiVersion, kind, metadata: { name, namespace, annotations }, spec: { replicas } };
}

export interface DeploymentOptions {
  readonly template: Fields;
  readonly replicas: number;
  /** That the least number of pods is admitted with, where the run waits for quota. */
  readonly group: Group | undefined;
}

/** One pod more than wanted for a while. */
const ROLLING = { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: "25%" } };
/**
 * Of a group: all pods of another come at once, and wait at the gate until those of the first have ended. Not "Recreate", which makes none
 * while a pod is lost.
 */
const AT_ONCE = { type: "RollingUpdate", rollingUpdate: { maxSurge: 0, maxUnavailable: "100%" } };

/**
 * The Deployment of a role: stateless pods. Where the run waits for quota there are two: of the pods that are admitted with the
 * learner, and of those that come one by one.
 */
export function deployments(
  run: TrainingRun,
  role: PoolRole,
  { template, replicas, group }: DeploymentOptions,
): readonly Child[] {
  const { name } = run.metadata;
  const matchLabels = selectorLabels(name, role);
  const make = (part: string, of: Fields): Child => {
    const spec = { revisionHistoryLimit: 2, selector: { matchLabels }, strategy: ROLLING, ...of };
    return child(run, { kind: "Deployment", name: childName(name, part), role }, { spec });
  };
  if (group === undefined) return [make(role, { replicas, template })];
  const together = Math.min(replicas, groupShare(run, role));
  return [
    make(role, {
      replicas: Math.max(0, together - group.leaving[role]),
      strategy: AT_ONCE,
      template: queued(template, run, group),
    }),
    make(extraPart(role), {
      replicas: group.admitted ? replicas - together : 0,
      selector: { matchLabels: { ...matchLabels, ...EXTRA_LABEL } },
      template: withMetadata(queued(template, run), { labels: EXTRA_LABEL }),
    }),
  ];
}

/** A quarter of the pods may be away on purpose; pods that do not serve anyway may always be evicted. */
export function disruptionBudget(run: TrainingRun, role: PoolRole): Child {
  const { name } = run.metadata;
  const spec = {
    maxUnavailable: "25%",
    unhealthyPodEvictionPolicy: "AlwaysAllow",
    selector: { matchLabels: selectorLabels(name, role) },
  };
  return child(run, { kind: "PodDisruptionBudget", name: childName(name, role), role }, { spec });
}
