/** Secrets as the controller makes them: of a run, gone with it; and never read, but for those that it has a right to by name. */
import { isStatus, type KubeClient, type KubeObject, ownerReference, type Resource } from "@oarlock/kube";
import type { TrainingRun } from "./api.ts";
import { labelsOf } from "./names.ts";

export const SECRETS: Resource = { apiVersion: "v1", kind: "Secret", plural: "secrets" };

export interface SecretObject extends KubeObject {
  readonly type?: string;
  readonly immutable?: boolean;
  /** Base64. */
  readonly data?: Readonly<Record<string, string>>;
}

/** A Secret of a run that is made once; `files` by name, as text. It goes with its owner: the run where none is given. */
export function runSecret(
  run: TrainingRun,
  {
    name,
    type,
    files,
    owner = run,
  }: { readonly name: string; readonly type: string; readonly files: Files; readonly owner?: KubeObject },
): SecretObject {
  const { name: runName, namespace = "default" } = run.metadata;
  return {
    apiVersion: SECRETS.apiVersion,
    kind: SECRETS.kind,
    metadata: {
      name,
      namespace,
      labels: labelsOf(runName),
      ownerReferences: [ownerReference(owner)],
    },
    type,
    immutable: true,
    data: Object.fromEntries(
      Object.entries(files).map(([file, text]) => [file, Buffer.from(text).toString("base64")]),
    ),
  };
}

type Files = Readonly<Record<string, string>>;

/** Undefined where one of that name is there already. */
export async function createSecret(
  client: KubeClient,
  secret: SecretObject,
  signal: AbortSignal,
): Promise<SecretObject | undefined> {
  try {
    return await client.create<SecretObject>(SECRETS, secret, { signal });
  } catch (reason) {
    if (isStatus(reason, 409)) return undefined;
    throw reason;
  }
}
