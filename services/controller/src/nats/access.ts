/**
 * How the controller itself reaches a run's message server: as the settings that every service reads, with the files of Secrets in a
 * folder for as long as they are used. A Secret is read only where the namespace lets the controller.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OarlockError } from "@oarlock/errors";
import { isStatus, type KubeClient } from "@oarlock/kube";
import type { TrainingRun } from "../api.ts";
import { rightToRead } from "../tls/given-secret.ts";
import { type SecretObject, SECRETS } from "../secrets.ts";

/** As `readNatsOptions` reads them: `NATS_URL`, `NATS_CA`, `NATS_CERT`, `NATS_KEY`; none where no server is there to ask. */
export type NatsSettings = Readonly<Record<string, string>>;

/** Gives the settings of a run to somebody who uses them. @throws OarlockError `NATS_SECRET_UNUSABLE`. */
export type WithNats = <T>(
  run: TrainingRun,
  signal: AbortSignal,
  use: (settings: NatsSettings) => Promise<T>,
) => Promise<T>;

/** Code of what whoever owns the namespace has to mend. */
export const NATS_SECRET_UNUSABLE = "NATS_SECRET_UNUSABLE";

export interface NatsAccessParts {
  readonly client: KubeClient;
  /** The controller's own namespace. */
  readonly namespace: string;
  /** Server of runs that name none. */
  readonly natsUrl: string | undefined;
}

export function createNatsAccess(parts: NatsAccessParts): WithNats {
  return async (run, signal, use) => {
    const { tls } = run.spec.nats ?? {};
    const address = await addressOf(run, parts, signal);
    if (tls === undefined) return use(address);
    const names = tls.clientCertificate === true ? FILES : ["ca.crt"];
    const texts = await keysOf(run, { ...parts, secret: tls.secretName, keys: names, signal });
    const folder = await mkdtemp(join(tmpdir(), "oarlock-nats-"));
    const file = (name: string): string => join(folder, name);
    try {
      for (const [name, text] of texts) await writeFile(file(name), text, { mode: 0o600 });
      const own = { NATS_CERT: file("tls.crt"), NATS_KEY: file("tls.key") };
      const mutual = tls.clientCertificate === true ? own : {};
      return await use({ ...address, NATS_CA: file("ca.crt"), ...mutual });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  };
}

const FILES = ["ca.crt", "tls.crt", "tls.key"];

async function addressOf(
  run: TrainingRun,
  parts: NatsAccessParts,
  signal: AbortSignal,
): Promise<NatsSettings> {
  const { managed, url = parts.natsUrl, urlSecretRef } = run.spec.nats ?? {};
  // What the run's own server stores lies in a claim of the run, and its password is in a Secret that nobody reads but pods.
  if (managed !== undefined) return {};
  if (urlSecretRef === undefined) return url === undefined ? {} : { NATS_URL: url };
  const { name: secret, key } = urlSecretRef;
  const texts = await keysOf(run, { ...parts, secret, keys: [key], signal });
  return { NATS_URL: texts.get(key)?.toString() ?? "" };
}

interface Wanted extends NatsAccessParts {
  readonly secret: string;
  readonly keys: readonly string[];
  readonly signal: AbortSignal;
}

async function keysOf(
  { metadata }: TrainingRun,
  { client, namespace, secret: name, keys, signal }: Wanted,
): Promise<ReadonlyMap<string, Buffer>> {
  const ref = { namespace: metadata.namespace ?? "default", name };
  let secret: SecretObject | undefined;
  try {
    secret = await client.get<SecretObject>(SECRETS, ref, signal);
  } catch (reason) {
    if (isStatus(reason, 403)) throw unusable(rightToRead(ref, namespace), reason);
    throw reason;
  }
  if (secret === undefined) throw unusable(`Secret ${name} does not exist in the run's namespace`);
  return new Map(
    keys.map((key) => {
      const text = secret.data?.[key];
      if (text === undefined || text === "") throw unusable(`Secret ${name} holds no ${key}`);
      return [key, Buffer.from(text, "base64")];
    }),
  );
}

function unusable(message: string, cause?: unknown): OarlockError {
  return new OarlockError(NATS_SECRET_UNUSABLE, message, { retryable: true, cause });
}
