/** The built `oarlock` as a user's shell starts it: a child process with its output, to wait for and to kill. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type MetricsRecord, parseMetrics, type RunSummary } from "@oarlock/report";
import { onTestFinished } from "vitest";

export const LAUNCHER: string = join(import.meta.dirname, "../../apps/cli/bin/oarlock.js");

export interface Started {
  /** The launcher: what Ctrl-C and kill reach. */
  readonly child: ChildProcess;
  /** Resolves when the process and all that it started have let go of their output. */
  readonly ended: Promise<Ended>;
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Standard output and standard error as they came. */
  readonly text: string;
}

/** Starts a command line. Ended with the test at the latest. */
export function startOarlock(
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv = process.env,
): Started {
  const child = spawn(process.execPath, [LAUNCHER, ...args], { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  const parts: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (part) => parts.push(String(part)));
  const ended = once(child, "close").then(([code, signal]) => ({ code, signal, text: parts.join("") }));
  return { child, ended: ended as Promise<Ended> }; // by the documentation of the event
}

export const oarlock = (args: readonly string[], cwd: string, env?: NodeJS.ProcessEnv): Promise<Ended> =>
  startOarlock(args, cwd, env).ended;

/** Records of a run folder so far. */
export function recordsOf(folder: string): readonly MetricsRecord[] {
  const path = join(folder, "metrics.jsonl");
  // A process that writes right now may have written half a line.
  const text = existsSync(path) ? readFileSync(path, "utf8").replace(/[^\n]*$/, "") : "";
  return parseMetrics(text);
}

export const summaryOf = (folder: string): RunSummary =>
  JSON.parse(readFileSync(join(folder, "summary.json"), "utf8")) as RunSummary; // written by the run

/** Digests of the policy after every step, in order. */
export const digestsOf = (folder: string): readonly string[] =>
  recordsOf(folder)
    .filter(({ kind }) => kind === "step")
    .map(({ policyDigest }) => policyDigest);

/** Waits until a run has done so many steps. */
export async function stepsDone(folder: string, steps: number, { child }: Started): Promise<void> {
  const deadlineMs = performance.now() + 120_000;
  while (digestsOf(folder).length < steps) {
    if (child.exitCode !== null || performance.now() > deadlineMs)
      throw new Error(`the run did not reach step ${steps}: ${digestsOf(folder).length} done`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
