/**
 * A nats-server of our own, for a run on one machine: found on the PATH, with JetStream in a folder, on loopback. It does
 * not know who connects.
 */
import { spawn, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { accessSync, constants, mkdirSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { OarlockError } from "@oarlock/errors";
import { waitFor } from "@oarlock/runtime";
import type { Environment } from "@oarlock/runtime";
import { canServe } from "./server-version.ts";

/** What there is of `nats-server` on the PATH. */
export interface NatsPrograms {
  /** The first that is new enough. */
  readonly path: string | undefined;
  /** Those before it that are not: "nats-server 2.9.10 at /usr/sbin/nats-server". */
  readonly tooOld: readonly string[];
}

/** Looks for `nats-server` on the PATH, and asks those that may be run for their version. */
export function findNatsServer(environment: Environment): NatsPrograms {
  const folders = (environment["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  const name = process.platform === "win32" ? "nats-server.exe" : "nats-server";
  const tooOld: string[] = [];
  for (const path of folders.map((folder) => join(folder, name)).filter(isExecutable)) {
    const version = versionOf(path);
    if (version === undefined || canServe(version)) return { path, tooOld };
    tooOld.push(`nats-server ${version} at ${path}`);
  }
  return { path: undefined, tooOld };
}

const VERSION_TIMEOUT_MS = 5_000;

/** Undefined where the program does not say: its start will tell more. */
function versionOf(path: string): string | undefined {
  const { stdout } = spawnSync(path, ["--version"], { encoding: "utf8", timeout: VERSION_TIMEOUT_MS });
  return /v?(\d+\.\d+\.\d+)/.exec(stdout ?? "")?.[1];
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export interface NatsServerOptions {
  /** The program. */
  readonly path: string;
  /** JetStream's storage and the configuration; made if absent. */
  readonly folder: string;
  /** Default 0: any free one. */
  readonly port?: number;
  /** Further lines of the server's configuration, e.g. for authentication. */
  readonly configuration?: string;
  /** An error that the server logs, e.g. of a full disk: its clients may hear nothing at all. */
  readonly onError?: (line: string) => void;
}

/** A server that answers. */
export interface NatsServer {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Settles when the process is gone, for whatever reason; tells how. */
  readonly exited: Promise<string>;
  /** Ends it and waits for that. Default SIGTERM. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

const START_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 20_000;
/** As nats-server's own documentation advises at most. */
const MAX_PAYLOAD = "8MB";
const LAST_LINES = 5;

/** Starts a server. @throws OarlockError `NATS_SERVER_FAILED` with its last lines when it does not come up. */
export async function startNatsServer(options: NatsServerOptions): Promise<NatsServer> {
  const { path, folder, port = -1, configuration = "" } = options;
  mkdirSync(folder, { recursive: true });
  const file = join(folder, "nats-server.conf");
  const storage = JSON.stringify(join(folder, "store"));
  writeFileSync(
    file,
    `listen: "127.0.0.1:${port === 0 ? -1 : port}"\nmax_payload: ${MAX_PAYLOAD}\n` +
      // A power failure must not cost what was acknowledged (T2): sync within a second, not within two minutes.
      `jetstream { store_dir: ${storage}, sync_interval: "1s" }\n${configuration}\n`,
  );
  // Not of the terminal's group: Ctrl-C ends whoever uses it first.
  const child = spawn(path, ["-c", file], { stdio: ["ignore", "ignore", "pipe"], detached: true });
  const endWithUs = (): void => void child.kill("SIGKILL");
  process.once("exit", endWithUs);
  const guard = child.pid === undefined ? undefined : guardOf(child.pid);
  const exited = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => {
      process.off("exit", endWithUs);
      guard?.kill("SIGKILL");
      resolve(code === null ? `signal ${signal}` : `exit code ${code}`);
    });
  });
  const lines: string[] = [];
  const ready = listening(child, lines, options.onError);
  const failed = exited.then((how) => {
    throw new OarlockError("NATS_SERVER_FAILED", `${path} ended with ${how}: ${lines.join(" | ")}`);
  });
  failed.catch(() => undefined);
  try {
    const listensOn = await waitFor("nats-server to be ready", Promise.race([ready, failed]), {
      timeoutMs: START_TIMEOUT_MS,
    });
    return {
      url: `nats://127.0.0.1:${listensOn}`,
      port: listensOn,
      pid: child.pid ?? 0,
      exited,
      async stop(signal = "SIGTERM") {
        child.kill(signal);
        await waitFor("nats-server to end", exited, { timeoutMs: STOP_TIMEOUT_MS });
      },
    };
  } catch (reason) {
    child.kill("SIGKILL");
    throw reason;
  }
}

/**
 * Ends the server when we are killed, which nothing in us can do: a shell that reads from a pipe to us until there is nobody
 * at the other end.
 */
function guardOf(pid: number): ChildProcess | undefined {
  if (process.platform === "win32") return undefined;
  const guard = spawn("/bin/sh", ["-c", 'read -r _; kill -TERM "$0"', String(pid)], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
    env: {},
  });
  // Without a shell the server is not guarded, and works all the same.
  guard.on("error", () => undefined);
  guard.stdin?.on("error", () => undefined);
  return guard;
}

/** Reads the log until the server says that it is ready; gives its port. */
function listening(
  child: ChildProcess,
  lines: string[],
  onError: NatsServerOptions["onError"],
): Promise<number> {
  return new Promise((resolve) => {
    if (child.stderr === null) return;
    let port = 0;
    createInterface({ input: child.stderr }).on("line", (line) => {
      lines.push(line);
      if (lines.length > LAST_LINES) lines.shift();
      const error = /\[(?:ERR|FTL)\] (.*)/.exec(line)?.[1];
      if (error !== undefined) onError?.(error);
      const bound = /Listening for client connections on .*:(\d+)/.exec(line);
      if (bound !== null) port = Number(bound[1]);
      if (line.includes("Server is ready")) resolve(port);
    });
  });
}
