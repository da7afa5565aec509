/** All that one reconcile looks at, gathered before it decides. Plain data. */
import type { KubeObject } from "@oarlock/kube";
import type {
  ChildKind,
  ConfigMap,
  Deployment,
  Job,
  Pod,
  PoolRole,
  RolePool,
  StatefulSet,
  TrainingRun,
} from "./api.ts";
import type { ChildSettings } from "./children/settings.ts";
import type { Device } from "./devices.ts";
import { childName, extraPart, ROLE_LABEL } from "./names.ts";
import type { Demand } from "./pace.ts";
import type { LearnerReport } from "./report.ts";
import { serviceHost } from "./tls/names.ts";
import type { TlsState } from "./tls/state.ts";
import type { TlsOptions } from "@oarlock/rpc";
import type { RoleName, RolloutWindow } from "@oarlock/runfile";

/** What came of resolving the plan. */
export type PlanOutcome =
  | {
      readonly type: "planned";
      readonly document: string;
      readonly digest: string;
      readonly window?: RolloutWindow;
    }
  | { readonly type: "refused"; readonly message: string }
  /** Something that the run reads is not there yet. */
  | { readonly type: "waiting"; readonly message: string };

export interface Observed {
  readonly run: TrainingRun;
  /** `Kind/name` → object, of all children. */
  readonly children: ReadonlyMap<string, KubeObject>;
  /** Without those that are lost. */
  readonly pods: readonly Pod[];
  /** Pods that were deleted, of which nobody will say that they ended. */
  readonly lost?: readonly Pod[];
  /** Nodes of its pods that do not answer. */
  readonly silentNodes?: ReadonlySet<string>;
  readonly settings: ChildSettings;
  /** Secret of the run's own message server, where it has one and it was made. */
  readonly natsSecret?: string;
  /** Certificates of the run's pods, where it asks for some and something is known of them. */
  readonly tls?: TlsState;
  /** Newest answer of the learner, if it answered. */
  readonly report?: LearnerReport;
  /** What pods compute on, by uid, as far as they were asked. */
  readonly devices?: ReadonlyMap<string, Device>;
  /** What the learner's last full window of steps asks of its actors. */
  readonly demand?: Demand;
  /** Of this reconcile: why the API server took no child of that form. */
  readonly refusal?: string;
  /** A wish for a checkpoint that was fulfilled and is not in the status yet. */
  readonly checkpointed?: string;
  /** Of this reconcile: what resolving the plan gave. */
  readonly plan?: PlanOutcome;
  /** Of this reconcile: what deleting the streams gave. */
  readonly cleanup?: { readonly done: boolean; readonly message: string };
  /** Whether this controller can delete streams at all. */
  readonly cleans: boolean;
  readonly nowMs: number;
}

/** A child by kind and name. */
function find(
  observed: Pick<Observed, "run" | "children">,
  kind: ChildKind,
  part: string,
): KubeObject | undefined {
  return observed.children.get(`${kind}/${childName(observed.run.metadata.name, part)}`);
}

// The map's keys name the kind, and each kind has one shape.
export const poolOf = (observed: Observed, role: PoolRole): RolePool | undefined =>
  find(observed, "RolePool", role) as RolePool | undefined;
export const deploymentOf = (observed: Observed, role: PoolRole): Deployment | undefined =>
  find(observed, "Deployment", role) as Deployment | undefined;
/** That of the pods admitted with the learner, and of those beyond. */
export const deploymentsOf = (observed: Observed, role: PoolRole): readonly Deployment[] =>
  [role, extraPart(role)]
    .map((part) => find(observed, "Deployment", part) as Deployment | undefined)
    .filter((found) => found !== undefined);
export const jobOf = (observed: Observed): Job | undefined =>
  find(observed, "Job", "learner") as Job | undefined;
export const statefulSetOf = (observed: Pick<Observed, "run" | "children">): StatefulSet | undefined =>
  find(observed, "StatefulSet", "nats") as StatefulSet | undefined;
export const planOf = (observed: Observed): ConfigMap | undefined =>
  find(observed, "ConfigMap", "plan") as ConfigMap | undefined;

export function podsOf({ pods }: Observed, role: RoleName): readonly Pod[] {
  return pods.filter(({ metadata }) => metadata.labels?.[ROLE_LABEL] === role);
}

/** Pods that hold or will hold a node: not those that have ended. */
export function livePods(pods: readonly Pod[]): readonly Pod[] {
  return pods.filter(({ status }) => status?.phase !== "Succeeded" && status?.phase !== "Failed");
}

export function isReady({ status }: Pod): boolean {
  return status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True") ?? false;
}

/** As whom a role is called, and under which name; undefined: in plain text. */
export function callerTls(
  { tls, run }: Pick<Observed, "tls" | "run">,
  role: RoleName,
): TlsOptions | undefined {
  return tls?.type === "ready" ? { ...tls.client, serverName: serviceHost(run, role) } : undefined;
}

/** A condition of the learner's Job, where it is true. */
export function jobCondition(
  observed: Observed,
  type: "Complete" | "Failed",
): NonNullable<NonNullable<Job["status"]>["conditions"]>[number] | undefined {
  return jobOf(observed)?.status?.conditions?.find(
    (condition) => condition.type === type && condition.status === "True",
  );
}
