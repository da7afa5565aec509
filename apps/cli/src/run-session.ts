/**
 * One sitting of a run: drives the local composition, shows it, and leaves a complete folder behind, whether the run
 * completed, was stopped or failed. Knows nothing of how a run is computed.
 */
import { hostname } from "node:os";
import { resolve } from "node:path";
import { isOarlockError } from "@oarlock/errors";
import { HISTORY, type MetricsRecord, progressLine, type RunStatus, type RunSummary } from "@oarlock/report";
import { processEnvironment } from "@oarlock/runtime";
import { isInterruption } from "./interrupt.ts";
import { nextSteps } from "./render/next-step.ts";
import { reasonsOf } from "./render/reasons.ts";
import { type RunEvent, startLocalRun } from "./local/index.ts";
import { brokerAtHand, type ProcessesOutcome, startProcessesRun } from "./processes/index.ts";
import { eventLine } from "./render/events.ts";
import { type PlanDocument, readRecords, type RunPaths, writeOutcome } from "./run-folder.ts";
import { beginSitting, endSitting, secondsSoFar } from "./sittings.ts";
import { summaryOf } from "./standing.ts";
import { openTensorboardFile } from "./tensorboard-file.ts";
import { bugReport } from "./render/bug.ts";
import type { Terminal } from "./terminal.ts";

/** Without a terminal, a line is written at most this often. */
const LINE_EVERY_MS = 10_000;

export interface SessionOptions {
  readonly paths: RunPaths;
  readonly plan: PlanDocument;
  readonly resume: boolean;
  /** Learner, actors and reward worker each in a process of its own. */
  readonly processes: boolean;
  readonly terminal: Terminal;
  /** Aborting drains the run to a checkpoint. */
  readonly signal: AbortSignal;
  /** Unix time in milliseconds. */
  readonly now: () => number;
}

export interface SessionResult {
  readonly summary: RunSummary;
  /** What to type next, where the run did not complete. */
  readonly next: readonly string[];
}

/** Runs until the end, a drain or a failure; then writes summary and report. */
export async function runSession(options: SessionOptions): Promise<SessionResult> {
  const { paths, plan, resume, now } = options;
  const startedMs = now();
  // Before the run drops the records behind its checkpoint: a sitting that was killed lasted until the last of them.
  const earlierSeconds = resume ? await secondsSoFar(paths, await readRecords(paths)) : 0;
  // Where even this cannot be written, the run says so better than we could; only a killed sitting's time would be lost.
  await beginSitting(paths, { startedMs, earlierSeconds }).catch(() => undefined);
  const tensorboard = plan.run.spec.output.tensorboard
    ? await openTensorboardFile(paths.tensorboard, startedMs, hostname())
    : undefined;
  const display = createDisplay(options);
  const onEvent = (event: RunEvent) => {
    display(event);
    if (event.type === "step") tensorboard?.append(event);
    if (event.type === "evaluation") tensorboard?.append(evaluationRecord(event, now()));
  };
  const end = await finish({ ...options, onEvent });
  await orSaid("TensorBoard's file", tensorboard?.close(), { ...options, ...end });
  if (end.failure !== undefined && !isOarlockError(end.failure))
    options.terminal.note(bugReport(end.failure));
  const summary = summaryOf(plan, {
    status: end.status,
    ...(end.failure === undefined ? {} : { reason: reasonsOf(end.failure).join(": ") }),
    seconds: earlierSeconds + (now() - startedMs) / 1000,
    records: await readRecords(paths),
  });
  const written = writeOutcome(paths, plan, summary).then(() => endSitting(paths));
  await orSaid("summary and report", written, { ...options, ...end });
  const { source, set } = plan;
  return { summary, next: nextSteps({ folder: paths.folder, source, set, failure: end.failure }) };
}

/** Where the run has failed, that is what its end says: what cannot be written any more, e.g. on a full disk, is a line before it. */
async function orSaid(
  what: string,
  written: Promise<void> | undefined,
  { failure, terminal }: Pick<RunEnd, "failure"> & Pick<SessionOptions, "terminal">,
): Promise<void> {
  await written?.catch((reason: unknown) => {
    if (failure === undefined) throw reason;
    terminal.note(`${what} could not be written: ${reasonsOf(reason).join(": ")}`);
  });
}

interface RunEnd {
  readonly status: RunStatus;
  readonly outcome?: ProcessesOutcome;
  readonly failure?: unknown;
}

interface Drive extends SessionOptions {
  readonly onEvent: (event: RunEvent) => void;
}

/** A failure is part of the result: what was written until then still becomes a report. */
async function finish(drive: Drive): Promise<RunEnd> {
  try {
    const run = drive.processes ? await startApart(drive) : await startTogether(drive);
    const outcome = await run.finished;
    return { status: outcome.status, outcome };
  } catch (failure) {
    // Before there was anything to drain, e.g. while the model was read.
    if (isInterruption(failure)) return { status: "stopped" };
    return { status: "failed", failure };
  }
}

type Started = { readonly finished: Promise<ProcessesOutcome> };

async function startTogether({ paths, plan, resume, signal, onEvent, terminal }: Drive): Promise<Started> {
  const { baseDir, uid, run } = plan;
  // Before the services serve: it asks a program for its version, and nothing else happens meanwhile.
  const atHand = brokerAtHand(processEnvironment());
  const started = await startLocalRun(run, { outDir: paths.folder, baseDir, uid, resume, signal, onEvent });
  const { learner } = started.addresses;
  const other = atHand === undefined ? "" : ` (--processes would use ${atHand})`;
  terminal.note(
    terminal.style.dim(`bus: in memory, everything in one process${other}; the learner is ${learner}`),
  );
  return started;
}

function startApart({ paths, plan, signal, onEvent, terminal }: Drive): Promise<Started> {
  return startProcessesRun(plan.run, {
    outDir: resolve(paths.folder),
    uid: plan.uid,
    environment: processEnvironment(),
    signal,
    onEvent,
    onNotice: (sentence) => terminal.note(terminal.style.dim(sentence)),
  });
}

type EvaluationEvent = Extract<RunEvent, { type: "evaluation" }>;

function evaluationRecord(event: EvaluationEvent, timeMs: number): MetricsRecord {
  const { stage, step, when, policy, metrics } = event;
  const policyDigest = policy.digest;
  return {
    kind: "evaluation",
    stage,
    step,
    when,
    globalStep: policy.number,
    policyVersion: policy.number,
    policyDigest,
    timeMs,
    metrics,
  };
}

/** Shows events: a live line where somebody watches, else a line now and then. */
function createDisplay({ terminal, now }: SessionOptions): (event: RunEvent) => void {
  let stageStartedMs = now();
  let lastLineMs = Number.NEGATIVE_INFINITY;
  let stepsInSitting = 0;
  let history: MetricsRecord["metrics"][] = [];
  let unscoredSaid = "";
  const { style } = terminal;
  const note = (event: RunEvent): void => terminal.note(eventLine(event, style));
  const show: { [T in RunEvent["type"]]: (event: Extract<RunEvent, { type: T }>) => void } = {
    stage(event) {
      [stageStartedMs, stepsInSitting, history] = [now(), 0, []];
      note(event);
    },
    kept: note,
    step({ stage, step, steps, metrics }) {
      stepsInSitting++;
      history = [...history.slice(1 - HISTORY), metrics];
      const elapsedSeconds = (now() - stageStartedMs) / 1000;
      const line = progressLine({ stage, step, steps, history, elapsedSeconds, stepsInSitting }, style);
      if (terminal.interactive && step < steps) return terminal.live(line);
      if (step < steps && now() - lastLineMs < LINE_EVERY_MS) return;
      lastLineMs = now();
      terminal.note(line);
    },
    evaluation: note,
    reached: note,
    missed: note,
    alarm: note,
    scorer: note,
    checkpoint: (event) => terminal.live(eventLine(event, style)),
    skipped: note,
    warning: note,
    unscored(event) {
      // Once a stage: the share is a metric, and each sample has its reason.
      if (unscoredSaid === event.stage) return;
      unscoredSaid = event.stage;
      note(event);
    },
    stalled: note,
    rejected: note,
  };
  // The table is exhaustive by its type; the event's own type picks its entry.
  return (event) => (show[event.type] as (event: RunEvent) => void)(event);
}
