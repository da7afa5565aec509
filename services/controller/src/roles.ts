/** The roles of a run and how many pods each should have. Pure. */
import {
  type RoleName,
  type RoleSpec,
  type RolloutWindow,
  type UsefulActors,
  usefulActors,
} from "@oarlock/runfile";
import type { PoolRole, TrainingRun } from "./api.ts";
import { balanced } from "./balance.ts";
import { COPIED_ANNOTATION, WINDOW_ANNOTATION } from "./names.ts";
import { type Observed, planOf, poolOf } from "./observed.ts";

export const POOL_ROLES: readonly PoolRole[] = ["actor", "reward"];
export const ROLES: readonly RoleName[] = ["learner", ...POOL_ROLES];

/** What the run says of a role. */
export function roleSpec(run: TrainingRun, role: RoleName): RoleSpec {
  return run.spec.roles?.find(({ name }) => name === role) ?? { name: role };
}

/** Who decides on the number of a role's pods. */
export function isBalanced(run: TrainingRun, role: RoleName): boolean {
  return roleSpec(run, role).scaling?.mode === "Balanced";
}

/** Pods that the run asks for; one where it says nothing. */
function askedReplicas(run: TrainingRun, role: PoolRole): number {
  return roleSpec(run, role).replicas ?? 1;
}

/** The number that this controller last wrote to a pool. */
export function copiedReplicas(observed: Observed, role: PoolRole): number | undefined {
  const copied = poolOf(observed, role)?.metadata.annotations?.[COPIED_ANNOTATION];
  return copied === undefined ? undefined : Number(copied);
}

/**
 * The number to write to a role's pool, or undefined where the pool's own number stands. It is written when the pool is
 * new; in Static mode when the run's number itself changed, so that a `kubectl scale` in between sticks; in Balanced mode
 * whenever the pool has another than the policy's.
 */
export function replicasToCopy(observed: Observed, role: PoolRole): number | undefined {
  const { run } = observed;
  const asked = askedReplicas(run, role);
  const copied = copiedReplicas(observed, role);
  if (copied === undefined) return asked;
  switch (roleSpec(run, role).scaling?.mode ?? "Static") {
    case "Static":
      return copied === asked ? undefined : asked;
    case "External":
      return undefined;
    case "Balanced":
      return balancedReplicas(observed, role, copied);
  }
}

function balancedReplicas(observed: Observed, role: PoolRole, copied: number): number | undefined {
  const { minReplicas = 1, maxReplicas = Infinity } = roleSpec(observed.run, role);
  const most = Math.min(maxReplicas, useful(observed)?.most ?? Infinity);
  const wanted = balanced(copied, observed.demand, { least: minReplicas, most });
  return poolOf(observed, role)?.spec.replicas === wanted && copied === wanted ? undefined : wanted;
}

/** Pods that should run: the pool's number within the run's bounds. */
export function wantedReplicas(observed: Observed, role: PoolRole): number {
  const { run } = observed;
  const { minReplicas = 0, maxReplicas = Infinity } = roleSpec(run, role);
  const scale =
    replicasToCopy(observed, role) ?? poolOf(observed, role)?.spec.replicas ?? askedReplicas(run, role);
  return Math.min(maxReplicas, Math.max(minReplicas, scale));
}

/** The number of actors beyond which more cannot help; undefined before there is a plan, and of runs that never sample. */
export function useful(observed: Observed): UsefulActors | undefined {
  const window = windowOf(planOf(observed)?.metadata.annotations?.[WINDOW_ANNOTATION]);
  return window === undefined ? undefined : usefulActors(window, observed.demand?.needed);
}

/** The annotation of a plan with this window, and back. */
export function windowText({ lag, promptsPerStep }: RolloutWindow): string {
  return `${lag},${promptsPerStep}`;
}

function windowOf(text: string | undefined): RolloutWindow | undefined {
  const [lag = Number.NaN, promptsPerStep = Number.NaN] = (text ?? "").split(",").map(Number);
  return lag >= 0 && promptsPerStep > 0 ? { lag, promptsPerStep } : undefined;
}
