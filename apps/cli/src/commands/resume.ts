/** `oarlock resume DIR`: continues a run from its newest checkpoint, bit for bit (T3). */
import { Command } from "commander";
import { isOarlockError, OarlockError } from "@oarlock/errors";
import type { RunSummary } from "@oarlock/report";
import { canonicalJson } from "@oarlock/runfile";
import { processEnvironment } from "@oarlock/runtime";
import { changedInputs, changeLine, withoutReplaced } from "../compare-runs.ts";
import type { CommandContext } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { listenForInterrupt } from "../interrupt.ts";
import { checkTelemetrySettings } from "@oarlock/workload";
import { runAgain } from "../render/next-step.ts";
import { renderOutcome } from "../render/outcome.ts";
import { loadingLine } from "../render/loading.ts";
import { type Prepared, prepareAgain } from "../prepare.ts";
import { loadRunFile } from "../run-file-source.ts";
import {
  type PlanDocument,
  readPlan,
  readReplacements,
  readSamples,
  readSummary,
  type RunPaths,
  runPaths,
} from "../run-folder.ts";
import { undoTakeover } from "../earlier-run.ts";
import { markRunning } from "../running-mark.ts";
import { requireBroker } from "../processes/index.ts";
import { runSession } from "../run-session.ts";
import type { Terminal } from "../terminal.ts";
import { DRAINING, PROCESSES } from "./run.ts";

export function resumeCommand(context: CommandContext): Command {
  return new Command("resume")
    .description("Continue a run from its newest checkpoint.")
    .argument("<dir>", "run folder")
    .option("--processes", PROCESSES)
    .addHelpText("after", EXAMPLES)
    .action(async (folder: string, options: ResumeOptions) => resume(context, folder, options));
}

interface ResumeOptions {
  readonly processes?: boolean;
}

async function resume(context: CommandContext, folder: string, options: ResumeOptions): Promise<void> {
  const { status } = await resumeRun(context, folder, options);
  if (status !== "completed") context.exit(status === "stopped" ? EXIT.interrupted : EXIT.failed);
}

/** Runs what is left of the run in a folder, and says what it came to. */
export async function resumeRun(
  { terminal, now }: CommandContext,
  folder: string,
  { processes = false }: ResumeOptions = {},
): Promise<RunSummary> {
  await undoTakeover(folder);
  const plan = await readPlan(folder);
  const paths = runPaths(folder);
  const before = await completeSummary(terminal, paths);
  if (before !== undefined) return before;
  if (processes) requireBroker(processEnvironment());
  checkTelemetrySettings();
  await using _mark = await markRunning(folder);
  // The process that had the folder until now may have completed it.
  const meanwhile = await completeSummary(terminal, paths);
  if (meanwhile !== undefined) return meanwhile;
  using interrupt = listenForInterrupt(terminal, DRAINING);
  const { signal } = interrupt;
  const today = await prepareAgain(paths, plan, { signal, onProgress: loadingLine(terminal) });
  await refuseChanges(paths, plan, today);
  const ignored = await ignoredChange(paths, plan, today);
  if (ignored !== undefined) terminal.note(ignored);
  const result = await runSession({ paths, plan, resume: true, processes, terminal, signal, now });
  const samples = await readSamples(paths);
  const { width, style } = terminal;
  terminal.print(`\n${renderOutcome({ ...result, samples, report: paths.report, width, style })}`);
  return result.summary;
}

/** The summary of a run that is complete, which is said; else undefined. */
async function completeSummary({ print }: Terminal, paths: RunPaths): Promise<RunSummary | undefined> {
  const summary = await readSummary(paths);
  if (summary?.status !== "completed") return undefined;
  print(`${paths.folder}: the run is complete; its model is in ${paths.final}`);
  return summary;
}

/** Other data, another model, reward function or reward model would make the rest of another run (T3). Another machine may go on. */
async function refuseChanges(paths: RunPaths, plan: PlanDocument, { plan: today }: Prepared): Promise<void> {
  // Its successor may lie where it lay.
  const replaced = new Set((await readReplacements(paths.folder)).map(({ target }) => target));
  const changed = changedInputs(
    withoutReplaced(plan.run, replaced),
    withoutReplaced(today.run, replaced),
  ).filter(({ input }) => INPUTS.has(input));
  if (changed.length === 0) return;
  throw new OarlockError(
    "RUN_INPUTS_CHANGED",
    `${paths.folder} cannot go on with other inputs than it began with; accepted: the earlier ones, or ` +
      `\`${runAgain({ ...plan, folder: paths.folder })}\`, which keeps finished stages\n${changed.map(changeLine).join("\n")}`,
  );
}

/** A run file that was changed is another run's: this one goes on with its plan, and says so. */
async function ignoredChange(
  { folder, runFile }: RunPaths,
  plan: PlanDocument,
  today: Prepared,
): Promise<string | undefined> {
  const again = `\`${runAgain({ ...plan, folder })}\` takes it up`;
  const parts = changedInputs(plan.run, today.plan.run).flatMap(({ input, part }) =>
    input === "spec" ? [part] : [],
  );
  if (parts.length > 0) {
    const named = parts.slice(0, NAMED_PARTS).join(", ");
    const which = parts.length > NAMED_PARTS ? `${named}, …` : named;
    return `${runFile} was changed since the run was planned (${which}), and the plan goes on; made in ${plan.source}, ${again}`;
  }
  const written = await loadRunFile(plan.source, plan.set).catch((reason: unknown) => {
    // One that is gone changes nothing, one that cannot be read any more was changed.
    return isOarlockError(reason, "RUN_FILE_MISSING") ? today.source : undefined;
  });
  if (canonicalJson(written?.file.run) === canonicalJson(today.source.file.run)) return undefined;
  return `${plan.source} was changed since the run was planned, and the plan goes on; ${again}`;
}

const NAMED_PARTS = 3;

const INPUTS: ReadonlySet<string> = new Set(["model", "data", "functions", "scorers"]);

const EXAMPLES = `
Examples:
  oarlock resume runs/addition`;
