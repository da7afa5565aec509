/** Which NATS server a run of several processes uses: the one that is named, else one of its own, else none. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { findNatsServer, readNatsOptions, startNatsServer } from "@oarlock/bus";
import type { NatsOptions } from "@oarlock/bus";
import { OarlockError } from "@oarlock/errors";
import type { Environment } from "@oarlock/runtime";

/** A server that the run may use. */
export interface RunBroker {
  readonly options: NatsOptions;
  /** Said to the user: where it is and whose. */
  readonly description: string;
  /** Its process, where it is ours. */
  readonly pid: number | undefined;
  /** Ends it where it is ours. */
  stop(): Promise<void>;
}

/** Whether there is one to use, before anything is written. @throws OarlockError `BROKER_MISSING`. */
export function requireBroker(environment: Environment): void {
  if (readNatsOptions(environment) === undefined) requireProgram(environment);
}

/** Finds or starts the server. @throws OarlockError `BROKER_MISSING`. */
export async function openBroker(environment: Environment, folder: string): Promise<RunBroker> {
  const named = readNatsOptions(environment);
  if (named !== undefined) {
    const description = `NATS at ${named.servers} (NATS_URL)`;
    return { options: named, description, pid: undefined, stop: async () => undefined };
  }
  const path = requireProgram(environment);
  const storage = join(folder, "nats");
  const server = await startNatsServer({ path, folder: storage });
  return {
    options: { servers: server.url },
    description: `${path} at ${server.url}, its storage in the run folder`,
    pid: server.pid,
    async stop() {
      await server.stop();
      // T3: nothing on the bus outlives a run.
      await rm(storage, { recursive: true, force: true });
    },
  };
}

function requireProgram(environment: Environment): string {
  const path = findNatsServer(environment);
  if (path !== undefined) return path;
  throw new OarlockError(
    "BROKER_MISSING",
    "a run of several processes needs a NATS server: set NATS_URL, or put nats-server 2.11 or newer on the PATH",
  );
}
