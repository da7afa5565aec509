/** What TLS adds to a pod: Secrets as read-only files, the settings that name them, a port for probes. Pure. */
import type { TrainingRun } from "../api.ts";
import { type Fields, mountedSecret } from "../children/pod-parts.ts";
import type { PodTls } from "./state.ts";
import { TLS_ANNOTATION } from "./names.ts";
import { tlsText } from "./state.ts";

export interface PodAdditions {
  readonly annotations: Readonly<Record<string, string>>;
  readonly env: readonly Fields[];
  readonly volumes: readonly Fields[];
  readonly volumeMounts: readonly Fields[];
}

/** Port of the plain health check of pods whose gRPC port speaks TLS: kubelets speak none. */
export const HEALTH_PORT = 50_052;

/** Where the run's certificates are mounted. */
export const RUN_MOUNT = "/etc/oarlock-tls";
const NATS_MOUNT = "/etc/oarlock-nats";

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
    ...mountedSecret("tls", { mountPath: RUN_MOUNT, secretName: tls.secretName }),
  };
}

/** Of the connection to a message server whose authority is not a public one. */
export function natsTls({ spec }: TrainingRun): PodAdditions {
  const { tls } = spec.nats ?? {};
  if (tls === undefined) return NOTHING;
  return {
    annotations: {},
    env: natsFiles(NATS_MOUNT, tls.clientCertificate === true),
    ...mountedSecret("nats-tls", { mountPath: NATS_MOUNT, secretName: tls.secretName }),
  };
}

/** Settings that name the files of a connection to a message server. */
export function natsFiles(folder: string, showsOwn: boolean): readonly Fields[] {
  const own = [
    { name: "NATS_CERT", value: `${folder}/tls.crt` },
    { name: "NATS_KEY", value: `${folder}/tls.key` },
  ];
  return [{ name: "NATS_CA", value: `${folder}/ca.crt` }, ...(showsOwn ? own : [])];
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
