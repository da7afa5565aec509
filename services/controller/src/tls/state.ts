/**
 * What is known of a run's certificates, and what its pods need of that. Pods keep the certificates that they have while the
 * controller knows nothing newer. Pure.
 */
import type { TlsOptions } from "@oarlock/rpc";
import type { KubeObject } from "@oarlock/kube";
import type { ConfigMap, Job, StatefulSet, TrainingRun } from "../api.ts";
import { type Child, child } from "../children/child.ts";
import { childName } from "../names.ts";
import { livePods, type Observed, statefulSetOf } from "../observed.ts";
import {
  AUTHORITY_ANNOTATION,
  CERTIFICATE_PART,
  END_ANNOTATION,
  SECRET_ANNOTATION,
  TLS_ANNOTATION,
} from "./names.ts";

/** What the pods of a run mount. */
export interface PodTls {
  readonly secretName: string;
  /** SHA-256 of the certificate: pods made with another one are replaced. */
  readonly digest: string;
}

/** What the controller knows of the authority that it is for a run. */
export interface AuthorityNote extends PodTls {
  readonly notAfterMs: number;
  /** SHA-256 of the authority's public key. */
  readonly authority: string;
  /** PEM. */
  readonly ca: string;
}

export type TlsState =
  | {
      readonly type: "ready";
      readonly pods: PodTls;
      /** As whom the controller calls the run's pods. */
      readonly client: TlsOptions;
      /** Of a run whose authority the controller is. */
      readonly note?: AuthorityNote;
    }
  | { readonly type: "waiting"; readonly message: string };

interface Seen {
  readonly run: TrainingRun;
  readonly children: ReadonlyMap<string, object>;
  readonly tls?: TlsState;
}

export function wantsTls({ spec }: TrainingRun): boolean {
  return spec.security?.tls !== undefined;
}

/** What new pods mount; undefined: nothing is known yet. */
export function podTlsOf({ run, children, tls }: Seen): PodTls | undefined {
  if (!wantsTls(run)) return undefined;
  if (tls?.type === "ready") return tls.pods;
  // The key names the kind.
  const job = children.get(`Job/${childName(run.metadata.name, "learner")}`) as Job | undefined;
  const [secretName, digest] = (job?.spec?.template?.metadata?.annotations?.[TLS_ANNOTATION] ?? "").split(
    "/",
  );
  return secretName === undefined || digest === undefined ? undefined : { secretName, digest };
}

export function tlsText({ secretName, digest }: PodTls): string {
  return `${secretName}/${digest}`;
}

/** The note that the controller left of its authority. */
export function noteOf({ run, children }: Seen): AuthorityNote | undefined {
  const found = children.get(`ConfigMap/${childName(run.metadata.name, "tls")}`) as ConfigMap | undefined;
  const { [SECRET_ANNOTATION]: pods = "", ...annotations } = found?.metadata.annotations ?? {};
  const { [END_ANNOTATION]: end = "", [AUTHORITY_ANNOTATION]: authority = "" } = annotations;
  const [secretName = "", digest = ""] = pods.split("/");
  const ca = found?.data?.["ca.crt"] ?? "";
  const isWhole = [secretName, digest, end, authority, ca].every((part) => part !== "");
  return isWhole ? { secretName, digest, notAfterMs: Date.parse(end), authority, ca } : undefined;
}

/** That note as an object: everybody may read whom the run's pods trust. */
export function noteChildren({ run, tls }: Seen): readonly Child[] {
  if (tls?.type !== "ready" || tls.note === undefined) return [];
  const { note } = tls;
  const of = { kind: "ConfigMap", name: childName(run.metadata.name, "tls") } as const;
  const made = child(run, of, { data: { "ca.crt": note.ca } });
  const annotations = {
    [SECRET_ANNOTATION]: tlsText(note),
    [END_ANNOTATION]: new Date(note.notAfterMs).toISOString(),
    [AUTHORITY_ANNOTATION]: note.authority,
  };
  return [{ ...made, metadata: { ...made.metadata, annotations } }];
}

/** What the Secrets belong to that no pod of the run mounts any more, nor will. */
export function unusedCertificates(observed: Observed): readonly KubeObject[] {
  const { run, children, pods } = observed;
  const current = podTlsOf(observed);
  if (current === undefined || !isRolledOut(statefulSetOf(observed))) return [];
  const mounted = livePods(pods).map(({ metadata }) => metadata.annotations?.[TLS_ANNOTATION]?.split("/")[0]);
  const used = new Set([current.secretName, ...mounted]);
  const first = childName(run.metadata.name, CERTIFICATE_PART);
  return [...children.values()].filter(
    ({ kind, metadata: { name } }) => kind === "ConfigMap" && name.startsWith(first) && !used.has(name),
  );
}

/** Whether the run's own message server, whose pods are not among the run's, is made anew where it has to be. */
function isRolledOut(server: StatefulSet | undefined): boolean {
  const { observedGeneration, currentRevision, updateRevision } = server?.status ?? {};
  return server?.metadata.generation === observedGeneration && currentRevision === updateRevision;
}
