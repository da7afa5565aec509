/**
 * The one secret of this controller, in its own namespace: the keys of every run's authority follow from it, so that no right
 * to read the Secrets of others is needed. Whoever deletes it makes every run's authority another one.
 */
import { randomBytes } from "node:crypto";
import { OarlockError } from "@oarlock/errors";
import type { KubeClient } from "@oarlock/kube";
import { createSecret, type SecretObject, SECRETS } from "../secrets.ts";

const NAME = "oarlock-authority";
const KEY = "root";
const BYTES = 32;

/** Reads it once, and makes it where there is none. */
export function createRootSecret(
  client: KubeClient,
  namespace: string,
): (signal: AbortSignal) => Promise<Buffer> {
  let known: Buffer | undefined;
  return async (signal) => (known ??= await readOrMake(client, namespace, signal));
}

async function readOrMake(client: KubeClient, namespace: string, signal: AbortSignal): Promise<Buffer> {
  const ref = { namespace, name: NAME };
  const read = async (): Promise<SecretObject | undefined> => client.get<SecretObject>(SECRETS, ref, signal);
  const found = (await read()) ?? (await make(client, namespace, signal)) ?? (await read());
  const root = Buffer.from(found?.data?.[KEY] ?? "", "base64");
  if (root.length === BYTES) return root;
  throw new OarlockError(
    "AUTHORITY_UNREADABLE",
    `Secret ${NAME} of namespace ${namespace} holds no ${BYTES} bytes under ${KEY}; delete it to have another made`,
  );
}

/** Undefined where another controller was first. */
function make(client: KubeClient, namespace: string, signal: AbortSignal): Promise<SecretObject | undefined> {
  const object: SecretObject = {
    apiVersion: SECRETS.apiVersion,
    kind: SECRETS.kind,
    metadata: { name: NAME, namespace, labels: { "app.kubernetes.io/part-of": "oarlock" } },
    type: "Opaque",
    immutable: true,
    data: { [KEY]: randomBytes(BYTES).toString("base64") },
  };
  return createSecret(client, object, signal);
}
