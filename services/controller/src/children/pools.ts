/** A role that scales: its RolePool, the Deployment behind it, and the budget for disruptions. */
import type { PoolRole, RolePool, TrainingRun } from "../api.ts";
import { childName, COPIED_ANNOTATION, selectorLabels } from "../names.ts";
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
}

/** The Deployment of a role: stateless pods. */
export function deployment(
  run: TrainingRun,
  role: PoolRole,
  { settings, replicas }: DeploymentOptions,
): Child {
  const { name } = run.metadata;
  const spec = {
    replicas,
    revisionHistoryLimit: 2,
    selector: { matchLabels: selectorLabels(name, role) },
    strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: "25%" } },
    template: podTemplate(run, role, settings),
  };
  return child(run, { kind: "Deployment", name: childName(name, role), role }, { spec });
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
