/** What a run asks of a cluster, as a user writes it: the TypeScript side of `schema/cluster.ts`. */
import type { IssuerKind, Manager, RoleName, ScalingMode, StorageType, TlsType } from "./vocabulary.ts";

/** What only a cluster reads; none of it changes bits (D1). */
export interface ClusterSpec {
  readonly suspend?: boolean | undefined;
  readonly managedBy?: Manager | undefined;
  readonly image?: string | undefined;
  readonly imagePullSecrets?: readonly { readonly name: string }[] | undefined;
  readonly roles?: readonly RoleSpec[] | undefined;
  readonly nats?: NatsSpec | undefined;
  readonly hub?: HubSpec | undefined;
  readonly security?: SecuritySpec | undefined;
  readonly storage?: StorageSpec | undefined;
  readonly backoffLimit?: number | undefined;
  readonly activeDeadlineSeconds?: number | undefined;
  readonly progressDeadlineSeconds?: number | undefined;
  readonly ttlSecondsAfterFinished?: number | undefined;
}

export interface RoleSpec {
  readonly name: RoleName;
  readonly replicas?: number | undefined;
  readonly minReplicas?: number | undefined;
  readonly maxReplicas?: number | undefined;
  readonly scaling?: { readonly mode?: ScalingMode | undefined } | undefined;
  readonly image?: string | undefined;
  readonly resources?:
    | { readonly requests?: ResourceListSpec | undefined; readonly limits?: ResourceListSpec | undefined }
    | undefined;
  readonly nodeSelector?: Readonly<Record<string, string>> | undefined;
  readonly tolerations?: readonly TolerationSpec[] | undefined;
  readonly priorityClassName?: string | undefined;
  readonly runtimeClassName?: string | undefined;
  /** A pod template's other fields; the API server checks them when the child is applied. */
  readonly template?: Readonly<Record<string, unknown>> | undefined;
}

/** Where pods read `hf://…`. */
export interface HubSpec {
  readonly endpoint?: string | undefined;
  readonly tokenSecretRef?: { readonly name: string; readonly key: string } | undefined;
}

/** Quantities by resource name. */
export interface ResourceListSpec {
  readonly cpu?: string | undefined;
  readonly memory?: string | undefined;
  readonly "ephemeral-storage"?: string | undefined;
  readonly "nvidia.com/gpu"?: string | undefined;
}

export interface TolerationSpec {
  readonly key?: string | undefined;
  readonly operator?: "Exists" | "Equal" | undefined;
  readonly value?: string | undefined;
  readonly effect?: "NoSchedule" | "PreferNoSchedule" | "NoExecute" | undefined;
  readonly tolerationSeconds?: number | undefined;
}

/** Exactly one of `url`, `urlSecretRef` and `managed`. */
export interface NatsSpec {
  readonly url?: string | undefined;
  readonly urlSecretRef?: { readonly name: string; readonly key: string } | undefined;
  readonly managed?: ManagedNatsSpec | undefined;
  readonly tls?:
    | { readonly secretName: string; readonly clientCertificate?: boolean | undefined }
    | undefined;
}

export interface ManagedNatsSpec {
  readonly size?: string | undefined;
  readonly storageClassName?: string | undefined;
  readonly image?: string | undefined;
}

export interface SecuritySpec {
  readonly tls?: TlsSpec | undefined;
}

export interface TlsSpec {
  readonly type: TlsType;
  readonly secret?: { readonly name: string } | undefined;
  readonly certManager?: { readonly issuerRef: IssuerRef } | undefined;
  readonly runCA?: { readonly validDays?: number | undefined } | undefined;
}

export interface IssuerRef {
  readonly name: string;
  readonly kind?: IssuerKind | undefined;
  readonly group?: string | undefined;
}

export interface StorageSpec {
  readonly type: StorageType;
  readonly claim?: { readonly name: string } | undefined;
  readonly new?: { readonly size: string; readonly storageClassName?: string | undefined } | undefined;
  readonly objectStore?: { readonly size: string } | undefined;
  readonly emptyDir?: { readonly acceptLoss: boolean } | undefined;
}
