/** What changed between two statuses, in the words of `kubectl describe`. Pure. */
import { conditionOf, type EventNote } from "@oarlock/kube";
import type { RunStatus } from "./api.ts";
import { deploymentOf, type Observed, poolOf } from "./observed.ts";
import { POOL_ROLES, wantedReplicas } from "./roles.ts";
import type { Reason } from "./situation.ts";

/** Reasons that somebody should look at. */
const WARNINGS: ReadonlySet<string> = new Set<Reason>([
  "Failed",
  "PlanRefused",
  "NatsMissing",
  "Stalled",
  "WaitingForNode",
]);

/** Events of a reconcile that leads to this status. */
export function eventsOf(observed: Observed, status: RunStatus): readonly EventNote[] {
  return [...phases(observed, status), ...scalings(observed)];
}

function phases({ run }: Observed, status: RunStatus): readonly EventNote[] {
  const before = conditionOf(run.status?.conditions ?? [], "Ready");
  const now = conditionOf(status.conditions ?? [], "Ready");
  if (now === undefined || now.reason === before?.reason) return [];
  return [
    { type: WARNINGS.has(now.reason) ? "Warning" : "Normal", reason: now.reason, message: now.message },
  ];
}

function scalings(observed: Observed): readonly EventNote[] {
  const { run } = observed;
  if (run.spec.suspend === true || run.metadata.deletionTimestamp !== undefined) return [];
  return POOL_ROLES.flatMap((role) => {
    const before = run.status?.roles?.find(({ name }) => name === role)?.desired;
    const now = wantedReplicas(run, role, poolOf(observed, role));
    if (before === undefined || before === now || deploymentOf(observed, role) === undefined) return [];
    return [{ type: "Normal", reason: "Scaled", message: `${role} ${before} → ${now}` }];
  });
}
