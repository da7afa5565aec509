/** The status of a run and of its pools, from what is observed. Pure; the same observation gives the same status. */
import { conditionOf, type Observation, withTimes } from "@oarlock/kube";
import type { RoleName } from "@oarlock/runfile";
import type { CheckpointStatus, PoolRole, PoolStatus, RoleStatus, RunStatus, TrainingRun } from "./api.ts";
import { checkpointPlace } from "./children/storage.ts";
import { devicesOf, endedWithoutDevice, podsWithoutDevice } from "./devices.ts";
import { selectorLabels, selectorText } from "./names.ts";
import {
  deploymentsOf,
  isReady,
  jobOf,
  livePods,
  type Observed,
  planOf,
  podsOf,
  poolOf,
} from "./observed.ts";
import { type LearnerReport, metricsOf, progressOf } from "./report.ts";
import { useful, wantedReplicas } from "./roles.ts";
import { hasEnded, type Reason, type Situation } from "./situation.ts";

/** Annotation of the plan's ConfigMap. */
export const DIGEST_ANNOTATION = "oarlock.dev/plan-digest";

/** The status that should be written. */
export function runStatus(observed: Observed, situation: Situation): RunStatus {
  const { run, nowMs } = observed;
  const before = run.status ?? {};
  const time = timeOf(nowMs);
  const serves = livePods(podsOf(observed, "learner")).some(isReady);
  const startTime = before.startTime ?? (serves ? time : undefined);
  const completionTime = hasEnded(situation) ? (before.completionTime ?? time) : undefined;
  const { progress, metrics, policyDigest, checkpoint, traceID } = newest(observed, { before, time });
  const planDigest = planOf(observed)?.metadata.annotations?.[DIGEST_ANNOTATION] ?? before.planDigest;
  return {
    observedGeneration: run.metadata.generation ?? 0,
    ...given({ startTime, completionTime }),
    conditions: withTimes(before.conditions ?? [], conditions(observed, situation), time),
    ...given({ progress, metrics, checkpoint, planDigest, policyDigest, traceID }),
    roles: (["actor", "reward", "learner"] as const).map((role) => roleStatus(observed, role)),
  };
}

/** What is known of the training itself: from the learner where it answers, else as it was. */
function newest(
  { run, report, checkpointed }: Observed,
  { before, time }: { readonly before: RunStatus; readonly time: string },
): RunStatus {
  const known = report === undefined ? before : { ...before, ...reported(run, report, { before, time }) };
  return checkpointed === undefined
    ? known
    : { ...known, checkpoint: { ...known.checkpoint, request: checkpointed } };
}

/** What the learner's answer says; what it does not say stays as it was. */
function reported(
  run: TrainingRun,
  report: LearnerReport,
  { before, time }: { readonly before: RunStatus; readonly time: string },
): Partial<RunStatus> {
  return {
    progress: progressOf(run.spec, report, before.progress, time),
    metrics: metricsOf(report),
    ...(report.checkpointStep === undefined
      ? {}
      : { checkpoint: checkpointOf(run, report.checkpointStep, { before: before.checkpoint, time }) }),
    ...(report.policyDigest === "" ? {} : { policyDigest: report.policyDigest }),
    ...(report.traceId === undefined ? {} : { traceID: report.traceId }),
  };
}

/** Where and when a checkpoint of a step was written: the time is that at which it was first seen. */
function checkpointOf(
  run: TrainingRun,
  step: number,
  { before, time }: { readonly before: CheckpointStatus | undefined; readonly time: string },
): CheckpointStatus {
  const uri = checkpointPlace(run);
  const seen = before?.step === step ? (before.time ?? time) : time;
  return { ...before, step, ...given({ uri }), time: seen };
}

/** Times of conditions have whole seconds. */
function timeOf(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}

function given<T extends object>(fields: T): { [K in keyof T]: NonNullable<T[K]> } {
  const present = Object.entries(fields).filter(([, value]) => value !== undefined);
  // What is undefined is left out, which is what the type says.
  return Object.fromEntries(present) as { [K in keyof T]: NonNullable<T[K]> };
}

const RUNNING: ReadonlySet<Reason> = new Set(["Training", "Paused"]);
const PROGRESSING: ReadonlySet<Reason> = new Set(["Training", "Finishing"]);

function conditions(observed: Observed, { reason, message, failure }: Situation): readonly Observation[] {
  const observedGeneration = observed.run.metadata.generation ?? 0;
  const condition = (
    type: string,
    holds: boolean,
    why: { reason: string; message: string },
  ): Observation => ({
    type,
    status: holds ? "True" : "False",
    ...why,
    observedGeneration,
  });
  const now = { reason, message };
  const not = (word: string): { reason: string; message: string } => ({ reason: word, message: "" });
  return [
    condition("Ready", RUNNING.has(reason), now),
    condition("Progressing", PROGRESSING.has(reason), now),
    condition("Stalled", reason === "Stalled", reason === "Stalled" ? now : not("NotStalled")),
    condition("Suspended", reason === "Suspended", suspension(reason, now)),
    condition("Complete", reason === "Complete", reason === "Complete" ? now : not("NotComplete")),
    condition(
      "Failed",
      failure !== undefined,
      failure === undefined ? not("NotFailed") : { reason: failure, message },
    ),
  ];
}

function suspension(
  reason: Reason,
  now: { reason: string; message: string },
): { reason: string; message: string } {
  return reason === "Suspended" || reason === "Suspending" ? now : { reason: "NotSuspended", message: "" };
}

function roleStatus(observed: Observed, role: RoleName): RoleStatus {
  const { run } = observed;
  const pods = podsOf(observed, role);
  const restarts =
    role === "learner"
      ? (jobOf(observed)?.status?.failed ?? 0)
      : pods
          .flatMap(({ status }) => status?.containerStatuses ?? [])
          .reduce((total, { restartCount }) => total + restartCount, 0);
  const selector = selectorText(selectorLabels(run.metadata.name, role));
  const ready = livePods(pods).filter(isReady).length;
  const known = run.status?.roles?.find(({ name }) => name === role)?.devices;
  const devices = given({ devices: devicesOf(observed, role, known) });
  if (role === "learner")
    return { name: role, desired: 1, ready, updated: ready, restarts, ...devices, selector };
  return {
    name: role,
    desired: wantedReplicas(observed, role),
    ready,
    updated: counted(observed, role).updatedReplicas,
    restarts,
    ...usefulMaximum(observed, role),
    ...devices,
    selector,
  };
}

function usefulMaximum(observed: Observed, role: PoolRole): Pick<RoleStatus, "usefulMaximum"> {
  const most = role === "actor" ? useful(observed)?.most : undefined;
  return most === undefined ? {} : { usefulMaximum: most };
}

const COUNTS = ["replicas", "readyReplicas", "updatedReplicas"] as const;

/** Pods of a role over its Deployments. */
function counted(observed: Observed, role: PoolRole): Readonly<Record<(typeof COUNTS)[number], number>> {
  const total = { replicas: 0, readyReplicas: 0, updatedReplicas: 0 };
  for (const { status } of deploymentsOf(observed, role))
    for (const name of COUNTS) total[name] += status?.[name] ?? 0;
  return total;
}

/** The status of a pool. */
export function poolStatus(observed: Observed, role: PoolRole): PoolStatus | undefined {
  const pool = poolOf(observed, role);
  if (pool === undefined) return undefined;
  const { replicas, readyReplicas, updatedReplicas } = counted(observed, role);
  const { generation: observedGeneration = 0 } = pool.metadata;
  const ready = poolReadiness(readyReplicas, pool.spec.replicas ?? 1);
  return {
    observedGeneration,
    replicas,
    readyReplicas,
    updatedReplicas,
    selector: selectorText(selectorLabels(observed.run.metadata.name, role)),
    ...usefulMaximum(observed, role),
    ...given({ devices: devicesOf(observed, role, pool.status?.devices) }),
    conditions: withTimes(
      pool.status?.conditions ?? [],
      [ready, poolFailure(observed, role), ...usefulness(observed, role)].map((condition) => ({
        ...condition,
        observedGeneration,
      })),
      timeOf(observed.nowMs),
    ),
  };
}

function poolReadiness(ready: number, wanted: number): Observation {
  const enough = ready >= wanted && wanted > 0;
  return {
    type: "Ready",
    status: enough ? "True" : "False",
    reason: enough ? "AllServe" : wanted === 0 ? "ScaledToZero" : "PodsMissing",
    message: `${ready} of ${wanted} pods serve`,
  };
}

/** Whether pods found no device; it stays where that ended the run. */
function poolFailure(observed: Observed, role: PoolRole): Observation {
  const before = conditionOf(poolOf(observed, role)?.status?.conditions ?? [], "Failed");
  const [first] = podsWithoutDevice(observed, role);
  if (first !== undefined) return { type: "Failed", status: "True", reason: "DeviceMissing", message: first };
  if (before?.status === "True" && endedWithoutDevice(observed.run) !== undefined) {
    const { reason, message } = before;
    return { type: "Failed", status: "True", reason, message };
  }
  return { type: "Failed", status: "False", reason: "NotFailed", message: "" };
}

/** Whether one more pod could help. */
function usefulness(observed: Observed, role: PoolRole): readonly Observation[] {
  const bound = role === "actor" ? useful(observed) : undefined;
  if (bound === undefined) return [];
  const { most, reason, why } = bound;
  const within = wantedReplicas(observed, role) <= most;
  const message = `more than ${most} cannot help: ${why}`;
  return [{ type: "Useful", status: within ? "True" : "False", reason: within ? "Within" : reason, message }];
}
