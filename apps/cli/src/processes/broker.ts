/** Which NATS server a run of several processes uses: the one that is named, else one of its own, else none. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { findNatsServer, readNatsOptions, startNatsServer } from "@oarlock/bus";
import type { NatsOptions, NatsServer, NatsServerOptions } from "@oarlock/bus";
import { OarlockError } from "@oarlock/errors";
import { createSettingsReader, sleep } from "@oarlock/runtime";
import type { Environment } from "@oarlock/runtime";

/** A server that the run may use. */
export interface RunBroker {
  readonly options: NatsOptions;
  /** As it was given, with who we are where that is in it: for the children's environment, and nothing that is written or said. */
  readonly url: string;
  /** Said to the user: where it is and whose. */
  readonly description: string;
  /** Its process, where it is ours. */
  readonly pid: number | undefined;
  /** Ends it where it is ours. */
  stop(): Promise<void>;
}

/** What `openBroker` would use, in words; undefined where there is nothing. */
export function brokerAtHand(environment: Environment): string | undefined {
  return createSettingsReader(environment).text("NATS_URL") === undefined
    ? findNatsServer(environment).path
    : "the NATS server of NATS_URL";
}

/** That there is one to use, before anything is written. @throws OarlockError `BROKER_MISSING`. */
export function requireBroker(environment: Environment): void {
  if (readNatsOptions(environment) === undefined) requireProgram(environment);
}

/**
 * Finds or starts the server. One of ours that dies is started again, on its port and its storage; what it says of
 * that and of its errors goes to `onNotice`.
 *
 * @throws OarlockError `BROKER_MISSING`.
 */
export async function openBroker(
  environment: Environment,
  folder: string,
  on: { readonly notice: (sentence: string) => void; readonly restart: () => void },
): Promise<RunBroker> {
  const named = readNatsOptions(environment);
  if (named !== undefined) {
    const url = environment["NATS_URL"] ?? named.servers;
    const description = `NATS at ${named.servers} (NATS_URL)`;
    return { options: named, url, description, pid: undefined, stop: async () => undefined };
  }
  const path = requireProgram(environment);
  const storage = join(folder, "nats");
  let saidMs = -Infinity;
  const onError = (line: string): void => {
    if (performance.now() - saidMs < QUIET_MS) return;
    saidMs = performance.now();
    on.notice(`nats-server: ${line}`);
  };
  let server = await startNatsServer({ path, folder: storage, onError });
  const { url, port } = server;
  const stopping = new AbortController();
  const living = (async () => {
    while (!stopping.signal.aborted) {
      const how = await server.exited;
      const next = await startedAgain({ path, folder: storage, port, onError }, stopping.signal);
      if (next === undefined) return;
      server = next;
      on.notice(`the NATS server ended (${how}) and was started again`);
      on.restart();
    }
  })();
  return {
    options: { servers: url },
    url,
    description: `${path} at ${url}, its storage in the run folder`,
    get pid() {
      return server.pid;
    },
    async stop() {
      stopping.abort();
      await server.stop();
      await living;
      // T3: nothing on the bus outlives a run.
      await rm(storage, { recursive: true, force: true });
    },
  };
}

const RESTART_PAUSE_MS = 500;
/** A server in trouble says the same many times a second. */
const QUIET_MS = 10_000;

/** Tries until it serves; undefined once it is not wanted any more. How long nobody can work is for others to say (L1). */
async function startedAgain(
  options: NatsServerOptions,
  signal: AbortSignal,
): Promise<NatsServer | undefined> {
  while (!signal.aborted) {
    const server = await startNatsServer(options).catch(() => undefined);
    if (server === undefined) {
      await sleep(RESTART_PAUSE_MS, { signal }).catch(() => undefined);
      continue;
    }
    if (!signal.aborted) return server;
    await server.stop();
  }
  return undefined;
}

function requireProgram(environment: Environment): string {
  const { path, tooOld } = findNatsServer(environment);
  if (path !== undefined) return path;
  const found = tooOld.length === 0 ? "" : ` (found: ${tooOld.join(", ")})`;
  throw new OarlockError(
    "BROKER_MISSING",
    `a run of several processes needs a NATS server: set NATS_URL, or put nats-server 2.11 or newer on the PATH${found}`,
  );
}
