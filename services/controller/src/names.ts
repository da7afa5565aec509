/** Names and labels of what belongs to a run. Deterministic: a stale view cannot make a second one. */
import type { RoleName } from "@oarlock/runfile";

/** Field manager of everything but replicas. */
export const MANAGER = "oarlock-controller";
/** Field manager of a RolePool's replicas, which others may take over. */
export const SCALE_MANAGER = "oarlock-controller-scale";

export const RUN_LABEL = "oarlock.dev/run";
export const ROLE_LABEL = "oarlock.dev/role";
const MANAGED_BY = "app.kubernetes.io/managed-by";

/** Selects all that this controller made. */
export const MANAGED_SELECTOR: string = `${MANAGED_BY}=${MANAGER}`;

/** SHA-256 of what was applied: a field that is not wanted any more is taken back by the next apply. */
export const APPLIED_ANNOTATION = "oarlock.dev/applied";
/** The `replicas` of the run that was last copied to the RolePool. */
export const COPIED_ANNOTATION = "oarlock.dev/copied-replicas";
/** Of a plan's ConfigMap: lag and prompts per step as `<lag>,<prompts>`; runs that never sample have none. */
export const WINDOW_ANNOTATION = "oarlock.dev/rollout-window";
/** Of a run: delete it though its streams cannot be. */
export const SKIP_CLEANUP_ANNOTATION = "oarlock.dev/skip-cleanup";

/** Of a run: a person's wish for a checkpoint; any new text is a new wish. */
export const CHECKPOINT_ANNOTATION = "oarlock.dev/checkpoint";

export const FINALIZER = "oarlock.dev/nats-cleanup";

/** `<run>-<part>`: runs have at most 40 characters, so this fits every name. */
export function childName(run: string, part: string): string {
  return `${run}-${part}`;
}

/** Of pods beyond those that Kueue admits with the learner. */
export const EXTRA_LABEL: Readonly<Record<string, string>> = { "oarlock.dev/part": "extra" };

/** Name of the part of a run with such pods. */
export function extraPart(role: RoleName): string {
  return `${role}-extra`;
}

/** Labels that select the pods of a role. */
export function selectorLabels(run: string, role: RoleName): Record<string, string> {
  return { [RUN_LABEL]: run, [ROLE_LABEL]: role };
}

/** Labels of a run's objects, of a role's where one is given. */
export function labelsOf(run: string, role?: RoleName): Record<string, string> {
  return {
    "app.kubernetes.io/name": "oarlock",
    "app.kubernetes.io/instance": run,
    "app.kubernetes.io/part-of": "oarlock",
    [MANAGED_BY]: MANAGER,
    [RUN_LABEL]: run,
    ...(role === undefined ? {} : { "app.kubernetes.io/component": role, [ROLE_LABEL]: role }),
  };
}

/** A selector as text. */
export function selectorText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
}
