/** What a pod of a run reads, as volumes and settings: ConfigMaps, claims, the hub, the message server. Pure. */
import type { RoleName } from "@oarlock/runfile";
import type { TrainingRun } from "../api.ts";
import { managedNatsEnvironment, ownsNats } from "../nats/server.ts";
import { asksHub, claimsOf, configMapsOf } from "../run-sources.ts";
import type { Fields } from "./pod-parts.ts";
import type { ChildSettings } from "./settings.ts";

/** What the run reads: bundles are fetched into it, ConfigMaps and claims are mounted below it. */
export const SOURCES_MOUNT = "/var/run/oarlock/sources";

/** Volumes of a pod that works for these roles. */
export function sourceVolumes(run: TrainingRun, roles: readonly RoleName[]): readonly Fields[] {
  return [
    { name: "sources", emptyDir: {} },
    ...configMapsOf(run).map((name, at) => ({ name: `source-${at}`, configMap: { name } })),
    ...claimsOf(run, roles).map((claimName, at) => ({
      name: `claim-${at}`,
      persistentVolumeClaim: { claimName, readOnly: true },
    })),
  ];
}

/** Where they are mounted. */
export function sourceMounts(run: TrainingRun, roles: readonly RoleName[]): readonly Fields[] {
  return [
    { name: "sources", mountPath: SOURCES_MOUNT },
    ...configMapsOf(run).map((name, at) => ({
      name: `source-${at}`,
      mountPath: `${SOURCES_MOUNT}/configmap/${name}`,
      readOnly: true,
    })),
    ...claimsOf(run, roles).map((name, at) => ({
      name: `claim-${at}`,
      mountPath: `${SOURCES_MOUNT}/pvc/${name}`,
      readOnly: true,
    })),
  ];
}

/** Where the hub is, and who a pod of these roles is to it: nothing where it has nothing to ask there. */
export function hubEnvironment(run: TrainingRun, roles: readonly RoleName[]): readonly Fields[] {
  const { endpoint, tokenSecretRef } = (asksHub(run, roles) ? run.spec.hub : undefined) ?? {};
  return [
    ...(endpoint === undefined ? [] : [{ name: "HF_ENDPOINT", value: endpoint }]),
    ...(tokenSecretRef === undefined
      ? []
      : [{ name: "HF_TOKEN", valueFrom: { secretKeyRef: { ...tokenSecretRef } } }]),
  ];
}

/** Where the message server is, and who a pod is to it. */
export function natsEnvironment(run: TrainingRun, settings: ChildSettings): readonly Fields[] {
  if (ownsNats(run)) return managedNatsEnvironment(run, settings);
  const { url, urlSecretRef } = run.spec.nats ?? {};
  const address =
    urlSecretRef === undefined
      ? { value: url ?? settings.natsUrl ?? "" }
      : { valueFrom: { secretKeyRef: { ...urlSecretRef } } };
  return [{ name: "NATS_URL", ...address }];
}
