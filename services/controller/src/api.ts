/** The resources that the controller reads and writes, as types and as places in the API. */
import type { Condition, KubeObject, Resource } from "@oarlock/kube";
import type { RoleName, RunSpec } from "@oarlock/runfile";

export const GROUP_VERSION = "oarlock.dev/v1alpha1";

export interface TrainingRun extends KubeObject {
  readonly spec: RunSpec;
  readonly status?: RunStatus;
}

export interface RunStatus {
  readonly observedGeneration?: number;
  readonly startTime?: string;
  readonly completionTime?: string;
  readonly conditions?: readonly Condition[];
  readonly progress?: Progress;
  readonly metrics?: readonly { readonly name: string; readonly value: string }[];
  readonly roles?: readonly RoleStatus[];
  readonly checkpoint?: CheckpointStatus;
  readonly planDigest?: string;
  readonly policyDigest?: string;
  readonly traceID?: string;
}

export interface CheckpointStatus {
  readonly step?: number;
  readonly request?: string;
  readonly uri?: string;
  readonly time?: string;
}

export interface Progress {
  readonly stage?: string;
  readonly step?: number;
  readonly totalSteps?: number;
  readonly percentage?: number;
  readonly estimatedRemainingSeconds?: number;
  readonly policyVersion?: number;
  readonly lastUpdatedTime?: string;
}

export interface RoleStatus {
  readonly name: RoleName;
  readonly desired: number;
  readonly ready: number;
  readonly updated: number;
  readonly restarts: number;
  readonly usefulMaximum?: number;
  readonly devices?: readonly DeviceStatus[];
  readonly selector: string;
}

/** Pods of a role that compute on devices of one kind. */
export interface DeviceStatus {
  readonly provider: string;
  readonly device: string;
  readonly driver: string;
  readonly pods: number;
}

export type PoolRole = Exclude<RoleName, "learner">;

export interface RolePool extends KubeObject {
  readonly spec: {
    readonly runName: string;
    readonly role: PoolRole;
    readonly replicas?: number;
    readonly minReplicas?: number;
    readonly maxReplicas?: number;
  };
  readonly status?: PoolStatus;
}

export interface PoolStatus {
  readonly observedGeneration: number;
  readonly replicas: number;
  readonly readyReplicas: number;
  readonly updatedReplicas: number;
  readonly selector: string;
  readonly usefulMaximum?: number;
  readonly devices?: readonly DeviceStatus[];
  readonly conditions?: readonly Condition[];
}

export interface Deployment extends KubeObject {
  readonly spec?: {
    readonly template?: { readonly metadata?: { readonly labels?: Readonly<Record<string, string>> } };
  };
  readonly status?: {
    readonly replicas?: number;
    readonly readyReplicas?: number;
    readonly updatedReplicas?: number;
  };
}

export interface StatefulSet extends KubeObject {
  readonly status?: {
    readonly readyReplicas?: number;
    readonly observedGeneration?: number;
    readonly currentRevision?: string;
    readonly updateRevision?: string;
  };
}

export interface Job extends KubeObject {
  readonly spec?: {
    readonly suspend?: boolean;
    readonly template?: { readonly metadata?: Pick<KubeObject["metadata"], "annotations"> };
  };
  readonly status?: {
    readonly active?: number;
    readonly ready?: number;
    readonly failed?: number;
    readonly terminating?: number;
    readonly startTime?: string;
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason?: string;
      readonly message?: string;
      readonly lastTransitionTime?: string;
    }[];
  };
}

export interface Pod extends KubeObject {
  readonly spec?: { readonly nodeName?: string };
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason?: string;
      readonly message?: string;
    }[];
    readonly containerStatuses?: readonly ContainerStatus[];
  };
}

export interface ContainerStatus {
  readonly ready: boolean;
  readonly restartCount: number;
  readonly state?: {
    readonly waiting?: { readonly reason?: string; readonly message?: string };
    readonly terminated?: { readonly exitCode: number; readonly message?: string };
  };
  /** Before its restart. */
  readonly lastState?: { readonly terminated?: { readonly exitCode: number; readonly message?: string } };
}

export interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
  readonly binaryData?: Readonly<Record<string, string>>;
}

export const TRAINING_RUNS: Resource = {
  apiVersion: GROUP_VERSION,
  kind: "TrainingRun",
  plural: "trainingruns",
};

/** What the controller makes for a run. */
export type ChildKind =
  | "ServiceAccount"
  | "ConfigMap"
  | "PersistentVolumeClaim"
  | "NetworkPolicy"
  | "Service"
  | "RolePool"
  | "PodDisruptionBudget"
  | "Deployment"
  | "StatefulSet"
  | "Job";

export const CHILDREN: Readonly<Record<ChildKind, Resource>> = {
  ServiceAccount: { apiVersion: "v1", kind: "ServiceAccount", plural: "serviceaccounts" },
  ConfigMap: { apiVersion: "v1", kind: "ConfigMap", plural: "configmaps" },
  PersistentVolumeClaim: {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    plural: "persistentvolumeclaims",
  },
  NetworkPolicy: { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", plural: "networkpolicies" },
  Service: { apiVersion: "v1", kind: "Service", plural: "services" },
  RolePool: { apiVersion: GROUP_VERSION, kind: "RolePool", plural: "rolepools" },
  PodDisruptionBudget: {
    apiVersion: "policy/v1",
    kind: "PodDisruptionBudget",
    plural: "poddisruptionbudgets",
  },
  Deployment: { apiVersion: "apps/v1", kind: "Deployment", plural: "deployments" },
  StatefulSet: { apiVersion: "apps/v1", kind: "StatefulSet", plural: "statefulsets" },
  Job: { apiVersion: "batch/v1", kind: "Job", plural: "jobs" },
};

export const PODS: Resource = { apiVersion: "v1", kind: "Pod", plural: "pods" };
