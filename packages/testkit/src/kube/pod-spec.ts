/** The part of a pod that the test kubelet reads, and what it makes of it: environment and paths. Pure. */

export interface KubePod {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly deletionTimestamp?: string;
    readonly deletionGracePeriodSeconds?: number;
  };
  readonly spec: {
    readonly restartPolicy: "Always" | "OnFailure" | "Never";
    readonly containers: readonly KubeContainer[];
    readonly volumes?: readonly KubeVolume[];
  };
  readonly status?: {
    readonly phase?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

export interface KubeContainer {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly env?: readonly KubeEnv[];
  readonly ports?: readonly { readonly name?: string; readonly containerPort: number }[];
  readonly readinessProbe?: Probe;
  readonly startupProbe?: Probe;
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
  readonly terminationMessagePath?: string;
}

export interface Probe {
  readonly grpc?: { readonly port: number };
  /** The port by number or by name. */
  readonly httpGet?: { readonly path: string; readonly port: number | string };
  readonly periodSeconds?: number;
}

export interface KubeEnv {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: {
    readonly fieldRef?: { readonly fieldPath: string };
    readonly secretKeyRef?: { readonly name: string; readonly key: string };
    readonly configMapKeyRef?: { readonly name: string; readonly key: string };
  };
}

export interface KubeVolume {
  readonly name: string;
  readonly configMap?: { readonly name: string };
  readonly secret?: { readonly secretName: string };
  readonly emptyDir?: object;
  readonly persistentVolumeClaim?: { readonly claimName: string };
}

/** Folders of a container: where it sees them, and where they are. */
export type Mounts = ReadonlyMap<string, string>;

/** A path of the container as a path of the machine; other texts stay. */
export function translate(text: string, mounts: Mounts): string {
  for (const [mountPath, folder] of mounts)
    if (text === mountPath || text.startsWith(`${mountPath}/`)) return folder + text.slice(mountPath.length);
  return text;
}

/** `$(NAME)` in a command's words as the value of that variable; unknown names stay. */
export function expanded(word: string, env: Readonly<Record<string, string>>): string {
  return word.replace(/\$\(([A-Za-z_]\w*)\)/g, (all, name: string) => env[name] ?? all);
}

export interface EnvironmentSources {
  readonly pod: KubePod;
  readonly podIp: string;
  readonly mounts: Mounts;
  /** Value of a key of a Secret or ConfigMap. */
  readonly lookup: (kind: "secrets" | "configmaps", name: string, key: string) => Promise<string>;
}

/** The environment of a container. */
export async function environmentOf(
  env: readonly KubeEnv[],
  sources: EnvironmentSources,
): Promise<Record<string, string>> {
  const pairs = env.map(async (entry) => [
    entry.name,
    translate(await valueOf(entry, sources), sources.mounts),
  ]);
  return Object.fromEntries(await Promise.all(pairs)) as Record<string, string>;
}

async function valueOf(
  { value, valueFrom }: KubeEnv,
  { pod, podIp, lookup }: EnvironmentSources,
): Promise<string> {
  if (value !== undefined) return value;
  const { fieldRef, secretKeyRef, configMapKeyRef } = valueFrom ?? {};
  if (secretKeyRef !== undefined) return lookup("secrets", secretKeyRef.name, secretKeyRef.key);
  if (configMapKeyRef !== undefined) return lookup("configmaps", configMapKeyRef.name, configMapKeyRef.key);
  const fields: Readonly<Record<string, string>> = {
    "metadata.name": pod.metadata.name,
    "metadata.namespace": pod.metadata.namespace,
    "metadata.uid": pod.metadata.uid,
    "status.podIP": podIp,
    "status.hostIP": "127.0.0.1",
  };
  return fields[fieldRef?.fieldPath ?? ""] ?? "";
}
