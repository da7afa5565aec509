/** Deletes what a run left on its message server. Another way to keep streams would be another cleaner. */
import { connectJetStreamBus, readNatsOptions } from "@oarlock/bus";
import type { Log } from "@oarlock/runtime";
import type { Cleaner } from "./controller.ts";
import type { WithNats } from "./nats/access.ts";

/** A server that does not answer within this is asked again by the next reconcile, for a while. */
const CONNECT_TIMEOUT_MS = 5_000;
const PATIENCE_MS = 10_000;

/** A cleaner of JetStream streams, consumers and buckets. */
export function createCleaner(withNats: WithNats, log: Log): Cleaner {
  return (run, signal) =>
    withNats(run, signal, async (settings) => {
      const options = readNatsOptions(settings);
      // A run that never had a server, or one of its own, left no streams on others.
      if (options === undefined) return;
      await using bus = await connectJetStreamBus({
        ...options,
        name: "oarlock-controller",
        connectTimeoutMs: CONNECT_TIMEOUT_MS,
        patienceMs: PATIENCE_MS,
        signal,
        log,
      });
      await bus.removeRun(run.metadata.uid ?? "");
    });
}
