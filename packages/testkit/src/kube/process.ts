/** A server program under test: started with its output kept, waited for, stopped with a deadline. */
import { type ChildProcess, spawn } from "node:child_process";
import { createServer } from "node:net";
import { OarlockError } from "@oarlock/errors";
import { inheritedEnvironment } from "../config.ts";

/** A program that runs until it is stopped. */
export interface ServerProcess {
  readonly name: string;
  readonly pid: number;
  /** The last lines that it wrote. */
  output(): string;
  /** Its exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
  /** SIGTERM, and SIGKILL where it does not end; resolves when it is gone. */
  stop(): Promise<void>;
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
}

const KEPT_CHARACTERS = 20_000;
const STOP_TIMEOUT_MS = 10_000;

/** Programs that run: a test process that ends takes them along. */
const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Starts a program, with this environment besides the process's own; its output is kept in memory. */
export function startProcess(
  name: string,
  file: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): ServerProcess {
  const env = { ...inheritedEnvironment(), ...environment };
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe"], env });
  running.add(child);
  child.once("exit", () => running.delete(child));
  let output = "";
  const keep = (data: Buffer): void => void (output = (output + data.toString()).slice(-KEPT_CHARACTERS));
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  child.on("error", (reason) => void (output += String(reason)));
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (hasEnded(child)) return;
    const gone = new Promise<void>((done) => child.once("exit", () => done()));
    child.kill(signal);
    const late = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await gone;
    clearTimeout(late);
  };
  return {
    name,
    pid: child.pid ?? -1,
    ended: new Promise((done) => child.once("exit", (code, signal) => done(code ?? signal ?? 1))),
    output: () => output,
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
  };
}

function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

/** Between the ports that Kubernetes' own programs take by default and those of Services. */
const PORTS = { first: 12_000, count: 18_000 };

/**
 * A port that nobody has. None that the system gives to outgoing connections (from 32,768 on): one of those may be taken by the time that
 * a server is started on it.
 */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = PORTS.first + Math.floor(Math.random() * PORTS.count);
    if (await canListen(port)) return port;
  }
  throw new OarlockError("TESTKIT_NO_PORT", "no free port");
}

function canListen(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((done) => {
    server.once("error", () => done(false));
    server.listen(port, () => server.close(() => done(true)));
  });
}

/** Asks `attempt` until it answers something, or throws, naming what was waited for (L1). */
export async function eventually<T>(
  what: string,
  attempt: () => Promise<T | undefined> | T | undefined,
  options: { readonly timeoutMs?: number; readonly everyMs?: number; readonly detail?: () => string } = {},
): Promise<T> {
  const { timeoutMs = 30_000, everyMs = 100, detail = () => "" } = options;
  const untilMs = performance.now() + timeoutMs;
  let last: unknown;
  while (performance.now() < untilMs) {
    try {
      const answer = await attempt();
      if (answer !== undefined) return answer;
    } catch (reason) {
      last = reason;
    }
    await new Promise((done) => setTimeout(done, everyMs));
  }
  throw new OarlockError("TESTKIT_TIMEOUT", `waited ${timeoutMs} ms for ${what}${detail()}`, { cause: last });
}
