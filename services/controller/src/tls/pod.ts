/** What TLS adds to a pod: Secrets as read-only files, the settings that name them, a port for probes. Pure. */
import type { TrainingRun } from "../api.ts";
import type { PodTls } from "./state.ts";
import { TLS_ANNOTATION } from "./names.ts";
import { tlsText } from "./state.ts";

type Fields = Readonly<Record<string, unknown>>;

export interface PodAdditions {
  readonly annotations: Readonly<Record<string, string>>;
  readonly env: readonly Fields[];
  readonly volumes: readonly Fields[];
  readonly volumeMounts: readonly Fields[];
}

/** Port of the plain health check of pods whose gRPC port speaks TLS: kubelets speak none. */
export const HEALTH_PORT = 50_052;

const RUN_MOUNT = "/etc/oarlock-tls";
const NATS_MOUNT = "/etc/oarlock-nats";
/** Owner and group read, as the group of the pod's volumes. */
const FILE_MODE = 0o440;

/** Of the gRPC servers. */
export function grpcTls(tls: PodTls | undefined): PodAdditions {
  if (tls === undefined) return NOTHING;
  return {
    annotations: { [TLS_ANNOTATION]: tlsText(tls) },
    env: [
      { name: "OARLOCK_TLS_CERT", value: `${RUN_MOUNT}/tls.crt` },
      { name: "OARLOCK_TLS_KEY", value: `${RUN_MOUNT}/tls.key` },
      { name: "OARLOCK_TLS_CA", value: `${RUN_MOUNT}/ca.crt` },
      { name: "OARLOCK_HEALTH_PORT", value: String(HEALTH_PORT) },
    ],
    ...mounted("tls", { mountPath: RUN_MOUNT, secretName: tls.secretName }),
  };
}

/** Of the connection to a message server whose authority is not a public one. */
export function natsTls({ spec }: TrainingRun): PodAdditions {
  const { tls } = spec.nats ?? {};
  if (tls === undefined) return NOTHING;
  const own = [
    { name: "NATS_CERT", value: `${NATS_MOUNT}/tls.crt` },
    { name: "NATS_KEY", value: `${NATS_MOUNT}/tls.key` },
  ];
  return {
    annotations: {},
    env: [{ name: "NATS_CA", value: `${NATS_MOUNT}/ca.crt` }, ...(tls.clientCertificate === true ? own : [])],
    ...mounted("nats-tls", { mountPath: NATS_MOUNT, secretName: tls.secretName }),
  };
}

/** Several as one. */
export function together(parts: readonly PodAdditions[]): PodAdditions {
  return {
    annotations: Object.assign(
      {},
      ...parts.map(({ annotations }) => annotations),
    ) as PodAdditions["annotations"],
    env: parts.flatMap(({ env }) => env),
    volumes: parts.flatMap(({ volumes }) => volumes),
    volumeMounts: parts.flatMap(({ volumeMounts }) => volumeMounts),
  };
}

const NOTHING: PodAdditions = { annotations: {}, env: [], volumes: [], volumeMounts: [] };

function mounted(
  name: string,
  { mountPath, secretName }: { readonly mountPath: string; readonly secretName: string },
): Pick<PodAdditions, "volumes" | "volumeMounts"> {
  return {
    volumes: [{ name, secret: { secretName, defaultMode: FILE_MODE } }],
    volumeMounts: [{ name, mountPath, readOnly: true }],
  };
}
