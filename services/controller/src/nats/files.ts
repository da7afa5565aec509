/**
 * The controller's own connections to a run's message server whose authority is not a public one: the Secret's files in a folder, for
 * as long as they are used. It is read only where the namespace lets the controller.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NatsTlsFiles } from "@oarlock/bus";
import { OarlockError } from "@oarlock/errors";
import { isStatus, type KubeClient } from "@oarlock/kube";
import type { TrainingRun } from "../api.ts";
import { rightToRead } from "../tls/given-secret.ts";
import { type SecretObject, SECRETS } from "../secrets.ts";

/** Gives the files of a run to somebody who uses them; undefined where the run names no Secret. */
export type WithNatsFiles = <T>(
  run: TrainingRun,
  signal: AbortSignal,
  use: (files: NatsTlsFiles | undefined) => Promise<T>,
) => Promise<T>;

/** Code of what whoever owns the namespace has to mend. */
export const NATS_SECRET_UNUSABLE = "NATS_SECRET_UNUSABLE";

/** `namespace` is the controller's own. */
export function createNatsFiles(client: KubeClient, namespace: string): WithNatsFiles {
  return async (run, signal, use) => {
    const { tls } = run.spec.nats ?? {};
    if (tls === undefined) return use(undefined);
    const ref = { namespace: run.metadata.namespace ?? "default", name: tls.secretName };
    const secret = await read(client, ref, { signal, namespace });
    const names = tls.clientCertificate === true ? ["ca.crt", "tls.crt", "tls.key"] : ["ca.crt"];
    const folder = await mkdtemp(join(tmpdir(), "oarlock-nats-"));
    try {
      for (const name of names) {
        const text = secret?.data?.[name];
        if (text === undefined) throw unusable(`Secret ${tls.secretName} holds no ${name}`);
        await writeFile(join(folder, name), Buffer.from(text, "base64"), { mode: 0o600 });
      }
      const own = { certFile: join(folder, "tls.crt"), keyFile: join(folder, "tls.key") };
      return await use({ caFile: join(folder, "ca.crt"), ...(tls.clientCertificate === true ? own : {}) });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  };
}

async function read(
  client: KubeClient,
  ref: { readonly namespace: string; readonly name: string },
  { signal, namespace }: { readonly signal: AbortSignal; readonly namespace: string },
): Promise<SecretObject | undefined> {
  try {
    return await client.get<SecretObject>(SECRETS, ref, signal);
  } catch (reason) {
    if (isStatus(reason, 403)) throw unusable(rightToRead(ref, namespace), reason);
    throw reason;
  }
}

function unusable(message: string, cause?: unknown): OarlockError {
  return new OarlockError(NATS_SECRET_UNUSABLE, message, { retryable: true, cause });
}
