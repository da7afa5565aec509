/**
 * A run on several processes of one machine: a broker, the learner, actors and a reward worker, supervised. The learner
 * decides when the run is over; whoever else dies is started again. `processes.json` in the run folder says who is who.
 */
import { createRequire } from "node:module";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { connectJetStreamBus } from "@oarlock/bus";
import type { LearnerLine } from "@oarlock/learner";
import { OarlockError } from "@oarlock/errors";
import type { ResolvedRun } from "@oarlock/runfile";
import type { Environment } from "@oarlock/runtime";
import { tlsFiles } from "../config.ts";
import type { RunEvent, RunOutcome } from "../local/index.ts";
import { openBroker } from "./broker.ts";
import type { RunBroker } from "./broker.ts";
import { Child, parseLine } from "./child.ts";
import type { ChildFacts } from "./child.ts";
import { writeProcesses } from "./processes-file.ts";
import type { ChildRole } from "./restarts.ts";

export interface ProcessesOptions {
  /** The run folder, with `plan.json`. */
  readonly outDir: string;
  readonly uid: string;
  /** For the children, and for finding the broker. */
  readonly environment: Environment;
  /** Aborting it drains the run to a checkpoint (Ctrl-C). */
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: RunEvent) => void;
  /** A sentence for the user, e.g. which broker is used. */
  readonly onNotice?: (sentence: string) => void;
}

export type ProcessesOutcome = Omit<RunOutcome, "loopDelay">;

export interface ProcessesRun {
  /** Resolves also when the run was stopped by its signal; rejects where it failed. */
  readonly finished: Promise<ProcessesOutcome>;
  children(): readonly ChildFacts[];
}

/** The learner finishes the step that it is at, then writes a checkpoint. */
const LEARNER_GRACE_MS = 120_000;
/** What actors and reward workers have in hand is not needed any more. */
const WORKER_GRACE_MS = 2_000;
/** Beyond a child's own grace: closing its servers. */
const CLOSING_MS = 10_000;

const resolveFrom = createRequire(import.meta.url);

/** Starts broker and children. */
export async function startProcessesRun(run: ResolvedRun, options: ProcessesOptions): Promise<ProcessesRun> {
  const { outDir, environment, onNotice } = options;
  const broker = await openBroker(environment, outDir, {
    notice: (sentence) => onNotice?.(sentence),
    restart: () => onChange(),
  });
  onNotice?.(`bus: ${broker.description}`);
  mkdirSync(join(outDir, "logs"), { recursive: true });
  const children: Child[] = [];
  const facts = (): readonly ChildFacts[] => children.map((child) => child.facts());
  const onChange = (): void => writeFacts(options, broker, facts());
  let outcome: ProcessesOutcome | undefined;
  let furthest = 0;
  const start = (role: ChildRole, index: number, onLine?: (line: string) => void): Child => {
    const instance = `${role}-${index}`;
    const child = new Child({
      role,
      instance,
      program: resolveFrom.resolve(`@oarlock/${role}/bin`),
      environment: childEnvironment(options, broker, { role, instance }),
      logPath: join(outDir, "logs", `${instance}.jsonl`),
      onChange,
      ...(onLine === undefined ? {} : { onLine }),
    });
    children.push(child);
    return child;
  };
  const learner: Child = start("learner", 0, (text) => {
    // A library's own output, which no line of ours looks like.
    if (!text.startsWith('{"type":')) return;
    // Written by our own learner: `LearnerLine` is what it writes.
    const line = parseLine(text) as LearnerLine | undefined;
    if (line === undefined) return;
    if (line.type === "step" && line.globalStep > furthest) {
      furthest = line.globalStep;
      learner.progressed();
    }
    if (line.type !== "ended") return options.onEvent?.(line);
    const { metrics, ...rest } = line;
    outcome = { ...rest, finalMetrics: metrics };
  });
  const workers = [
    start("reward", 0),
    ...Array.from({ length: run.spec.compute.actors }, (_, index) => start("actor", index)),
  ];
  return { children: facts, finished: finish({ options, broker, learner, workers, outcome: () => outcome }) };
}

interface Parts {
  readonly options: ProcessesOptions;
  readonly broker: RunBroker;
  readonly learner: Child;
  readonly workers: readonly Child[];
  readonly outcome: () => ProcessesOutcome | undefined;
}

async function finish({ options, broker, learner, workers, outcome }: Parts): Promise<ProcessesOutcome> {
  const { signal, uid } = options;
  const drain = (): void => void learner.end(LEARNER_GRACE_MS + CLOSING_MS);
  signal?.addEventListener("abort", drain, { once: true });
  if (signal?.aborted) drain();
  try {
    // A worker ends before the learner only where it is given up.
    await Promise.race([learner.over, ...workers.map((worker) => worker.over.then(() => learner.over))]);
    const ended = outcome();
    if (ended !== undefined) return ended;
    throw new OarlockError(
      "RUN_BROKEN_OFF",
      "the learner ended without saying how; its log is in the run folder, logs/learner-0.jsonl",
    );
  } finally {
    signal?.removeEventListener("abort", drain);
    await learner.end(CLOSING_MS);
    await Promise.all(workers.map((worker) => worker.end(WORKER_GRACE_MS + CLOSING_MS)));
    await cleanUp(broker, uid).catch((reason: unknown) => {
      const why = reason instanceof Error ? reason.message : String(reason);
      options.onNotice?.(`what the run had on the bus could not be removed: ${why}`);
    });
    await broker.stop();
  }
}

/** T3: everything that a later resume needs is in its checkpoints; nothing on the bus is. */
async function cleanUp(broker: RunBroker, uid: string): Promise<void> {
  await using bus = await connectJetStreamBus({
    ...broker.options,
    connectTimeoutMs: 2_000,
    patienceMs: 5_000,
  });
  await bus.removeRun(uid);
}

function childEnvironment(
  { outDir, uid, environment }: ProcessesOptions,
  broker: RunBroker,
  of: { readonly role: ChildRole; readonly instance: string },
): Environment {
  return {
    // As for the one process of a local run: native calls and file access share the pool.
    UV_THREADPOOL_SIZE: "16",
    ...environment,
    NATS_URL: broker.url,
    OARLOCK_PLAN: join(outDir, "plan.json"),
    OARLOCK_UID: uid,
    OARLOCK_OUT: outDir,
    OARLOCK_INSTANCE: of.instance,
    OARLOCK_HOST: "127.0.0.1",
    OARLOCK_PORT: "0",
    OARLOCK_GRACE_MS: String(of.role === "learner" ? LEARNER_GRACE_MS : WORKER_GRACE_MS),
  };
}

function writeFacts(
  { outDir, uid, environment }: ProcessesOptions,
  broker: RunBroker,
  children: readonly ChildFacts[],
): void {
  writeProcesses(outDir, {
    uid,
    broker: { servers: broker.options.servers, ...(broker.pid === undefined ? {} : { pid: broker.pid }) },
    tls: tlsFiles(environment),
    children,
  });
}
