/** What changed between two statuses, in the words of `kubectl describe`. Pure. */
import { podsWithoutDevice } from "./devices.ts";
import { conditionOf, type EventNote } from "@oarlock/kube";
import type { PoolRole, RoleStatus, RunStatus } from "./api.ts";
import { balanceWords } from "./balance.ts";
import { deploymentOf, type Observed, poolOf } from "./observed.ts";
import { copiedReplicas, isBalanced, POOL_ROLES, useful, wantedReplicas } from "./roles.ts";
import type { Reason } from "./situation.ts";
import { stageWords } from "./stages.ts";

/** Reasons that somebody should look at. */
const WARNINGS: ReadonlySet<string> = new Set<Reason>([
  "Failed",
  "PlanRefused",
  "DeviceMissing",
  "NatsMissing",
  "ChildRefused",
  "Stalled",
  "WaitingForNode",
  "NodeLost",
]);

/** Events of a reconcile that leads to this status. */
export function eventsOf(observed: Observed, status: RunStatus): readonly EventNote[] {
  return [
    ...phases(observed, status),
    ...stages(observed, status),
    ...checkpoints(observed, status),
    ...scalings(observed),
  ];
}

function stages({ run }: Observed, { progress }: RunStatus): readonly EventNote[] {
  const now = progress?.stage;
  if (now === undefined || now === run.status?.progress?.stage) return [];
  return [{ type: "Normal", reason: "StageStarted", message: stageWords(run.spec, now) }];
}

function phases({ run }: Observed, status: RunStatus): readonly EventNote[] {
  const before = conditionOf(run.status?.conditions ?? [], "Ready");
  const now = conditionOf(status.conditions ?? [], "Ready");
  if (now === undefined || now.reason === before?.reason) return [];
  return [
    { type: WARNINGS.has(now.reason) ? "Warning" : "Normal", reason: now.reason, message: now.message },
  ];
}

/** The answer to a wish for a checkpoint. */
function checkpoints({ checkpointed }: Observed, { checkpoint }: RunStatus): readonly EventNote[] {
  if (checkpointed === undefined) return [];
  const message = `as asked for, of step ${checkpoint?.step ?? 0}`;
  return [{ type: "Normal", reason: "CheckpointSaved", message }];
}

function scalings(observed: Observed): readonly EventNote[] {
  const { run } = observed;
  if (run.spec.suspend === true || run.metadata.deletionTimestamp !== undefined) return [];
  return POOL_ROLES.flatMap((role) => {
    const before = run.status?.roles?.find(({ name }) => name === role);
    const now = wantedReplicas(observed, role);
    if (before === undefined || deploymentOf(observed, role) === undefined) return [];
    return [
      ...(before.desired === now ? [] : [scaled(observed, role, { before: before.desired, now })]),
      ...overruled(observed, role),
      ...withoutDevice(observed, role),
      ...(role === "actor" ? beyondUse(observed, before, now) : []),
    ];
  });
}

function scaled(
  { run, demand }: Observed,
  role: PoolRole,
  { before, now }: { readonly before: number; readonly now: number },
): EventNote {
  const why = isBalanced(run, role) && demand !== undefined ? `: ${balanceWords(demand)}` : "";
  return { type: "Normal", reason: "Scaled", message: `${role} ${before} → ${now}${why}` };
}

/** Said once, of a pool in which others may serve. */
function withoutDevice(observed: Observed, role: PoolRole): readonly EventNote[] {
  const [first] = podsWithoutDevice(observed, role);
  const failed = conditionOf(poolOf(observed, role)?.status?.conditions ?? [], "Failed");
  if (first === undefined || failed?.status === "True") return [];
  return [{ type: "Warning", reason: "PodWithoutDevice", message: first }];
}

/** The answer to a `kubectl scale` where the controller decides. */
function overruled(observed: Observed, role: PoolRole): readonly EventNote[] {
  const asked = poolOf(observed, role)?.spec.replicas;
  if (!isBalanced(observed.run, role) || asked === undefined || asked === copiedReplicas(observed, role))
    return [];
  const message = `${role}: ${asked} were asked for, and scaling.mode Balanced keeps ${wantedReplicas(observed, role)}; mode Static leaves the number to you`;
  return [{ type: "Warning", reason: "ScaleOverruled", message }];
}

/** Said when a scale goes beyond it, and when it falls below the scale. */
function beyondUse(observed: Observed, before: RoleStatus, now: number): readonly EventNote[] {
  const bound = useful(observed);
  if (bound === undefined || now <= bound.most) return [];
  const known = before.desired === now && now > (before.usefulMaximum ?? Infinity);
  const message = `${now} actors: more than ${bound.most} cannot help: ${bound.why}`;
  return known ? [] : [{ type: "Warning", reason: "BeyondUsefulMaximum", message }];
}
