/** The roles of a run and how many pods each should have. Pure. */
import type { RoleName, RoleSpec } from "@oarlock/runfile";
import type { PoolRole, RolePool, TrainingRun } from "./api.ts";
import { COPIED_ANNOTATION } from "./names.ts";

export const POOL_ROLES: readonly PoolRole[] = ["actor", "reward"];
export const ROLES: readonly RoleName[] = ["learner", ...POOL_ROLES];

/** What the run says of a role. */
export function roleSpec(run: TrainingRun, role: RoleName): RoleSpec {
  return run.spec.roles?.find(({ name }) => name === role) ?? { name: role };
}

/** Pods that the run asks for; one where it says nothing. */
export function askedReplicas(run: TrainingRun, role: PoolRole): number {
  return roleSpec(run, role).replicas ?? 1;
}

/**
 * The number to copy from the run to its pool, or undefined where the pool's own number stands: it is copied when the pool
 * is new, and in Static mode when the run's number itself changed, so that a `kubectl scale` in between sticks.
 */
export function replicasToCopy(
  run: TrainingRun,
  role: PoolRole,
  pool: RolePool | undefined,
): number | undefined {
  const asked = askedReplicas(run, role);
  const copied = pool?.metadata.annotations?.[COPIED_ANNOTATION];
  if (copied === undefined) return asked;
  const mode = roleSpec(run, role).scaling?.mode ?? "Static";
  return mode === "Static" && copied !== String(asked) ? asked : undefined;
}

/** Pods that should run: the pool's number within the run's bounds. */
export function wantedReplicas(run: TrainingRun, role: PoolRole, pool: RolePool | undefined): number {
  const { minReplicas = 0, maxReplicas = Infinity } = roleSpec(run, role);
  const scale = replicasToCopy(run, role, pool) ?? pool?.spec.replicas ?? askedReplicas(run, role);
  return Math.min(maxReplicas, Math.max(minReplicas, scale));
}
