/**
 * Certificates that somebody else makes: in a Secret that exists, or by cert-manager into a Secret that it keeps. The controller
 * reads that one Secret to call the learner, and only where the namespace lets it.
 */
import { problemOf } from "@oarlock/certificates";
import {
  covers,
  isStatus,
  type KubeClient,
  type KubeObject,
  ownerReference,
  type Resource,
} from "@oarlock/kube";
import { sha256Hex } from "@oarlock/runtime";
import type { TrainingRun } from "../api.ts";
import { childName, labelsOf, MANAGER } from "../names.ts";
import type { Observed } from "../observed.ts";
import { dnsNamesOf } from "./names.ts";
import { type SecretObject, SECRETS } from "../secrets.ts";
import type { TlsState } from "./state.ts";

export const CERTIFICATES: Resource = {
  apiVersion: "cert-manager.io/v1",
  kind: "Certificate",
  plural: "certificates",
};

interface CertificateObject extends KubeObject {
  readonly spec: object;
  readonly status?: {
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly message?: string;
    }[];
  };
}

export interface GivenSecretParts {
  readonly client: KubeClient;
  /** Namespace of the controller: its account is named in what it asks for. */
  readonly namespace: string;
}

/** What the Secret says; `name` is the one that pods mount. */
export async function givenSecret(
  { client, namespace }: GivenSecretParts,
  { run, nowMs }: Observed,
  { name, signal }: { readonly name: string; readonly signal: AbortSignal },
): Promise<TlsState> {
  const ref = { namespace: run.metadata.namespace ?? "default", name };
  const waiting = (message: string): TlsState => ({ type: "waiting", message });
  let secret: SecretObject | undefined;
  try {
    secret = await client.get<SecretObject>(SECRETS, ref, signal);
  } catch (reason) {
    if (!isStatus(reason, 403)) throw reason;
    return waiting(rightToRead(ref, namespace));
  }
  if (secret === undefined) return waiting(`Secret ${name} does not exist in the run's namespace`);
  const [cert, key, ca] = ["tls.crt", "tls.key", "ca.crt"].map((file) => textOf(secret, file));
  if (cert === undefined || key === undefined || ca === undefined)
    return waiting(`Secret ${name} must hold tls.crt, tls.key and ca.crt; it holds ${fieldsOf(secret)}`);
  const problem = problemOf({ cert, key, ca }, nowMs);
  if (problem !== undefined) return waiting(`Secret ${name}: ${problem}`);
  const digest = sha256Hex(cert + ca);
  return { type: "ready", pods: { secretName: name, digest }, client: { cert, key, ca } };
}

/** What whoever owns the namespace has to do. */
export function rightToRead(
  { namespace, name }: { readonly namespace: string; readonly name: string },
  own: string,
): string {
  const role = `oarlock-${name}`;
  return (
    `the controller may not read Secret ${name}; allow it: ` +
    `kubectl -n ${namespace} create role ${role} --verb=get --resource=secrets --resource-name=${name} && ` +
    `kubectl -n ${namespace} create rolebinding ${role} --role=${role} --serviceaccount=${own}:oarlock-controller`
  );
}

function textOf({ data }: SecretObject, file: string): string | undefined {
  const found = data?.[file];
  return found === undefined || found === "" ? undefined : Buffer.from(found, "base64").toString();
}

function fieldsOf({ data = {} }: SecretObject): string {
  const names = Object.keys(data).toSorted();
  return names.length === 0 ? "nothing" : names.join(", ");
}

/** Makes the run's Certificate where it is not as it should be, and says what cert-manager says of it. */
export async function ensureCertificate(
  client: KubeClient,
  run: TrainingRun,
  signal: AbortSignal,
): Promise<string | undefined> {
  const wanted = certificateOf(run);
  const ref = { namespace: wanted.metadata.namespace ?? "default", name: wanted.metadata.name };
  const found = await client.get<CertificateObject>(CERTIFICATES, ref, signal);
  if (found === undefined || !covers(found, wanted)) {
    await client.apply(CERTIFICATES, wanted, { fieldManager: MANAGER, signal });
    return undefined;
  }
  const ready = found.status?.conditions?.find(({ type }) => type === "Ready");
  return ready === undefined || ready.status === "True" ? undefined : ready.message;
}

/** The Secret that a run's Certificate fills. */
export function certificateSecret({ metadata }: TrainingRun): string {
  return childName(metadata.name, "tls");
}

/** A certificate for servers and clients, on the curve that every TLS library takes. */
export function certificateOf(
  run: TrainingRun,
): CertificateObject & { readonly metadata: { readonly name: string } } {
  const { name, namespace = "default" } = run.metadata;
  const { issuerRef } = run.spec.security?.tls?.certManager ?? {};
  return {
    apiVersion: CERTIFICATES.apiVersion,
    kind: CERTIFICATES.kind,
    metadata: {
      name: childName(name, "tls"),
      namespace,
      labels: labelsOf(name),
      ownerReferences: [ownerReference(run)],
    },
    spec: {
      secretName: certificateSecret(run),
      commonName: name,
      dnsNames: [...dnsNamesOf(run)],
      usages: ["digital signature", "server auth", "client auth"],
      privateKey: { algorithm: "ECDSA", size: 256, rotationPolicy: "Always" },
      issuerRef: {
        name: issuerRef?.name ?? "",
        kind: issuerRef?.kind ?? "Issuer",
        group: issuerRef?.group ?? "cert-manager.io",
      },
    },
  };
}
