/** `oarlock resume DIR`: continues a run from its newest checkpoint, bit for bit (T3). */
import { Command } from "commander";
import { processEnvironment } from "@oarlock/runtime";
import type { CommandContext } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { listenForInterrupt } from "../interrupt.ts";
import { renderOutcome } from "../render/outcome.ts";
import { readPlan, readSamples, readSummary, runPaths } from "../run-folder.ts";
import { requireBroker } from "../processes/index.ts";
import { runSession } from "../run-session.ts";
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

async function resume(
  { terminal, now, exit }: CommandContext,
  folder: string,
  { processes = false }: ResumeOptions,
): Promise<void> {
  const plan = await readPlan(folder);
  const paths = runPaths(folder);
  if ((await readSummary(paths))?.status === "completed") {
    terminal.print(`${folder}: the run is complete; its model is in ${paths.final}`);
    return;
  }
  if (processes) requireBroker(processEnvironment());
  using interrupt = listenForInterrupt(terminal, DRAINING);
  const { summary } = await runSession({
    paths,
    plan,
    resume: true,
    processes,
    terminal,
    signal: interrupt.signal,
    now,
  });
  const samples = await readSamples(paths);
  const { width, style } = terminal;
  terminal.print(`\n${renderOutcome({ summary, samples, folder, report: paths.report, width, style })}`);
  if (summary.status !== "completed") exit(summary.status === "stopped" ? EXIT.interrupted : EXIT.failed);
}

const EXAMPLES = `
Examples:
  oarlock resume runs/addition`;
