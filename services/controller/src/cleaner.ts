/** Deletes what a run left on its message server. Another way to keep streams would be another cleaner. */
import { connectJetStreamBus } from "@oarlock/bus";
import { OarlockError } from "@oarlock/errors";
import type { Log } from "@oarlock/runtime";
import type { TrainingRun } from "./api.ts";
import type { Cleaner } from "./controller.ts";
import type { WithNatsFiles } from "./nats/files.ts";

/** A server that does not answer within this is asked again by the next reconcile, for a while. */
const CONNECT_TIMEOUT_MS = 5_000;
const PATIENCE_MS = 10_000;

export interface CleanerOptions {
  /** Server of runs that name none. */
  readonly natsUrl: string | undefined;
  readonly withFiles: WithNatsFiles;
  readonly log: Log;
}

/** A cleaner of JetStream streams, consumers and buckets. */
export function createCleaner({ natsUrl, withFiles, log }: CleanerOptions): Cleaner {
  return async (run, signal) => {
    // What the run's own server stores lies in a claim of the run.
    if (run.spec.nats?.managed !== undefined) return;
    const servers = urlOf(run, natsUrl);
    // A run that never had a server never had streams.
    if (servers === undefined) return;
    await withFiles(run, signal, async (tls) => {
      await using bus = await connectJetStreamBus({
        servers,
        name: "oarlock-controller",
        ...(tls === undefined ? {} : { tls }),
        connectTimeoutMs: CONNECT_TIMEOUT_MS,
        patienceMs: PATIENCE_MS,
        signal,
        log,
      });
      await bus.removeRun(run.metadata.uid ?? "");
    });
  };
}

function urlOf({ spec }: TrainingRun, fallback: string | undefined): string | undefined {
  if (spec.nats?.urlSecretRef === undefined) return spec.nats?.url ?? fallback;
  const { name, key } = spec.nats.urlSecretRef;
  throw new OarlockError(
    "CLEANUP_NO_CREDENTIALS",
    `the server's address is in Secret ${name} (key ${key}), and the controller reads no Secrets`,
  );
}
