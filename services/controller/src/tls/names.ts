/** Names and labels of a run's certificates, and the names under which its pods are reached. Pure. */
import { ROLE_NAMES } from "@oarlock/runfile";
import type { TrainingRun } from "../api.ts";
import { childName } from "../names.ts";

/** Of a pod template: which certificate it was made with; another one is another template. */
export const TLS_ANNOTATION = "oarlock.dev/tls";
/** Of the ConfigMap with the run's authority: the Secret of its pods, its certificate's end, the authority's key. */
export const SECRET_ANNOTATION = "oarlock.dev/tls-secret";
export const END_ANNOTATION = "oarlock.dev/tls-not-after";
export const AUTHORITY_ANNOTATION = "oarlock.dev/tls-authority";

/** Of the names of certificates that the controller signs: its first characters after the run's. */
export const CERTIFICATE_PART = "tls-";

/** Name of a Service of the run inside of the cluster: what the controller expects in the certificate of a pod of that role. */
export function serviceHost({ metadata }: TrainingRun, part: string): string {
  return `${childName(metadata.name, part)}.${metadata.namespace ?? "default"}.svc`;
}

/** All names under which the pods of a run are reached. */
export function dnsNamesOf(run: TrainingRun): readonly string[] {
  return [...ROLE_NAMES, "nats"].flatMap((part) => {
    const host = serviceHost(run, part);
    return [childName(run.metadata.name, part), host, `${host}.cluster.local`];
  });
}
