/** A role that scales: its RolePool, the Deployment behind it, and the budget for disruptions. */
import type { PoolRole, RolePool, TrainingRun } from "../api.ts";
import { childName, COPIED_ANNOTATION, EXTRA_LABEL, extraPart, selectorLabels } from "../names.ts";
import { groupShare, queued, queueOf } from "../queueing.ts";
import { roleSpec } from "../roles.ts";
import { type Child, child } from "./child.ts";
import { podTemplate } from "./pod.ts";
import type { ChildSettings } from "./settings.ts";

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
  readonly settings: ChildSettings;
  readonly replicas: number;
  /** Whether the run's group has its quota, where there is one. */
  readonly admitted: boolean;
}

/** One pod more than wanted for a while; of a pod group, which has a fixed size, one less. */
const ROLLING = { maxSurge: 1, maxUnavailable: "25%" };
const ROLLING_IN_GROUP = { maxSurge: 0, maxUnavailable: 1 };

/**
 * The Deployment of a role: stateless pods. Where the run waits for quota there are two: of the pods that are admitted with the
 * learner, and of those that come one by one.
 */
export function deployments(
  run: TrainingRun,
  role: PoolRole,
  { settings, replicas, admitted }: DeploymentOptions,
): readonly Child[] {
  const { name } = run.metadata;
  const template = podTemplate(run, role, settings);
  const make = (part: string, spec: object): Child => {
    const common = { revisionHistoryLimit: 2, selector: { matchLabels: selectorLabels(name, role) } };
    return child(
      run,
      { kind: "Deployment", name: childName(name, part), role },
      { spec: { ...common, ...spec } },
    );
  };
  const rolling = (rollingUpdate: object): object => ({ strategy: { type: "RollingUpdate", rollingUpdate } });
  if (queueOf(run) === undefined) return [make(role, { replicas, ...rolling(ROLLING), template })];
  const together = Math.min(replicas, groupShare(run, role));
  return [
    make(role, {
      replicas: together,
      ...rolling(ROLLING_IN_GROUP),
      template: queued(template, run, "together"),
    }),
    make(extraPart(role), {
      replicas: admitted ? replicas - together : 0,
      ...rolling(ROLLING),
      selector: { matchLabels: { ...selectorLabels(name, role), ...EXTRA_LABEL } },
      template: withLabels(queued(template, run, "singly"), EXTRA_LABEL),
    }),
  ];
}

function withLabels(template: Readonly<Record<string, unknown>>, more: object): object {
  const metadata = template["metadata"] as { readonly labels?: object };
  return { ...template, metadata: { ...metadata, labels: { ...metadata.labels, ...more } } };
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
