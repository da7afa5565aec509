/**
 * The password of a run's own message server: random, made once, in a Secret that the controller can make and never read. It needs
 * no way in: what the server stores goes with its claim.
 */
import { randomBytes } from "node:crypto";
import type { KubeClient } from "@oarlock/kube";
import { sha256Hex } from "@oarlock/runtime";
import type { StatefulSet, TrainingRun } from "../api.ts";
import { childName } from "../names.ts";
import { type Observed, planOf, statefulSetOf } from "../observed.ts";
import { createSecret, runSecret, type SecretObject } from "../secrets.ts";

/** Of the StatefulSet: the Secret that was made for it. */
export const NATS_SECRET_ANNOTATION = "oarlock.dev/nats-secret";
export const NATS_USER = "oarlock";
/** Keys of the Secret. */
export const PASSWORD = "password";
export const CONFIGURATION = "nats.conf";

const PASSWORD_BYTES = 24;
const NAME_DIGITS = 10;
/** As nats-server's own documentation advises at most. */
const MAX_PAYLOAD = "8MB";

export interface NatsCredentials {
  /** Name of the Secret of a run's own server, made where it is not there yet; undefined: none is needed yet. */
  of(seen: Observed, signal: AbortSignal): Promise<string | undefined>;
  /** Of a run that is gone. */
  forget(uid: string): void;
}

/** Credentials of nobody yet. */
export function createNatsCredentials(client: KubeClient): NatsCredentials {
  const made = new Set<string>();
  return {
    async of(seen, signal) {
      const { run } = seen;
      const { uid = "", deletionTimestamp } = run.metadata;
      if (run.spec.nats?.managed === undefined) return undefined;
      const name = nameOf(run);
      if (made.has(uid) || noted(statefulSetOf(seen)) === name) return name;
      if (planOf(seen) === undefined || deletionTimestamp !== undefined) return undefined;
      // Where a controller before this one made it, the server that comes reads that one.
      await createSecret(client, secretOf(run, name), signal);
      made.add(uid);
      return name;
    },
    forget: (uid) => void made.delete(uid),
  };
}

function noted(server: StatefulSet | undefined): string | undefined {
  return server?.metadata.annotations?.[NATS_SECRET_ANNOTATION];
}

/** A run of the same name that was deleted may not have lost its Secret yet. */
function nameOf({ metadata }: TrainingRun): string {
  return childName(metadata.name, `nats-${sha256Hex(metadata.uid ?? "").slice(0, NAME_DIGITS)}`);
}

function secretOf(run: TrainingRun, name: string): SecretObject {
  const password = randomBytes(PASSWORD_BYTES).toString("base64url");
  const configuration = [
    `max_payload: ${MAX_PAYLOAD}`,
    // A power failure must not cost what was acknowledged (T2).
    `jetstream { sync_interval: "1s" }`,
    `authorization { user: ${JSON.stringify(NATS_USER)}, password: ${JSON.stringify(password)} }`,
    "",
  ].join("\n");
  const files = { [PASSWORD]: password, [CONFIGURATION]: configuration };
  return runSecret(run, { name, type: "Opaque", files });
}
