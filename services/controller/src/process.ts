/** The controller as a process: settings, signals, exit code. */
import { connect, createHttpClient } from "@oarlock/kube";
import { createLog, Lifecycle, processEnvironment, systemClock } from "@oarlock/runtime";
import { createCleaner } from "./cleaner.ts";
import { readControllerConfig } from "./config.ts";
import { startController } from "./main.ts";
import { createNatsAccess } from "./nats/access.ts";

/** Runs until told to end; 1 where it broke off, as when the lead was lost. */
export async function main(): Promise<number> {
  const config = readControllerConfig(processEnvironment());
  const log = createLog({ fields: { instance: config.identity } });
  const lifecycle = new Lifecycle({ name: "controller", log, graceMs: config.graceMs });
  lifecycle.listenToSignals();
  const connection = connect();
  lifecycle.onEnd("API connection", () => connection.close());
  try {
    const withNats = createNatsAccess({ client: createHttpClient(connection), ...config.children });
    const cleaner = createCleaner(withNats, log);
    const clock = systemClock;
    const { stopped } = await startController({ config, connection, cleaner, lifecycle, clock, log });
    await stopped;
    await lifecycle.end("its work is done");
    return 0;
  } catch (reason) {
    log.error("failed", { err: reason });
    return 1;
  }
}
