/** `oarlock status DIR`: where a run stands, from its folder, and from its processes where it runs on several. */
import { Command } from "commander";
import {
  type MetricsRecord,
  formatNumber,
  metricOf,
  safeText,
  shortDuration,
  sparkline,
} from "@oarlock/report";
import { blockOf, rolloutsOf, untilOf } from "@oarlock/runfile";
import type { CommandContext } from "../context.ts";
import { liveStatus } from "../processes/index.ts";
import { renderEvaluations } from "../render/outcome.ts";
import { renderProcesses } from "../render/processes.ts";
import { ACCESS_OPTIONS, type AccessOptions, serviceAccess, type ServiceAccess } from "../service-access.ts";
import type { Terminal } from "../terminal.ts";
import { readPlan, readRecords, runPaths } from "../run-folder.ts";
import { standingOf } from "../standing.ts";

/** Values of a curve shown as bars. */
const BARS = 40;

export function statusCommand({ terminal, now }: CommandContext): Command {
  const command = new Command("status")
    .description("Show where a run stands.")
    .argument("<dir>", "run folder")
    .option("--json", "print the summary as JSON")
    .addHelpText("after", EXAMPLES)
    .action(async (folder: string, options: { json?: boolean } & AccessOptions) => {
      const [plan, paths] = [await readPlan(folder), runPaths(folder)];
      const records = await readRecords(paths);
      const standing = await standingOf({ folder, plan, records }, now());
      if (options.json === true) return terminal.print(JSON.stringify(standing, undefined, 2));
      const { style } = terminal;
      const last = records.at(-1);
      const age =
        last === undefined
          ? ""
          : style.dim(`, last record ${shortDuration((now() - last.timeMs) / 1000)} ago`);
      terminal.print(`${style.bold(plan.run.name)} ${standing.status}${age}`);
      if (standing.reason !== undefined) terminal.print(safeText(standing.reason));
      for (const stage of plan.run.spec.stages) {
        const steps = records.filter((record) => record.kind === "step" && record.stage === stage.name);
        const wanted = blockOf(stage).steps;
        const shown = rolloutsOf(stage) === undefined ? "loss" : "reward";
        const values = steps
          .map(({ metrics }) => metricOf(metrics, shown))
          .filter((value) => value !== undefined);
        const curve =
          values.length === 0
            ? ""
            : `  ${shown} ${formatNumber(values.at(-1) ?? 0)} ${sparkline(values.slice(-BARS))}`;
        const most = untilOf(stage) === undefined ? "" : " at most";
        terminal.print(`  ${stage.name} ${steps.length}/${wanted}${most}${curve}`);
      }
      traceLines(records).forEach((line) => terminal.print(style.dim(line)));
      await printProcesses(terminal, folder, serviceAccess(options));
      const evaluations = renderEvaluations(standing);
      if (evaluations !== "") terminal.print(`\n${evaluations}`);
    });
  for (const option of ACCESS_OPTIONS) command.addOption(option);
  return command;
}

/** Where to look for what the newest traced step or evaluation did; nothing where none was traced. */
function traceLines(records: readonly MetricsRecord[]): string[] {
  const traced = records.findLast(({ traceId }) => traceId !== undefined);
  return traced === undefined
    ? []
    : [`  trace of ${traced.kind} ${traced.step} of ${traced.stage}: ${traced.traceId}`];
}

async function printProcesses(
  { print, style }: Terminal,
  folder: string,
  access: ServiceAccess,
): Promise<void> {
  const processes = await liveStatus(folder, access);
  if (processes.length > 0) print(`\n${renderProcesses(processes, style)}`);
}

const EXAMPLES = `
Examples:
  oarlock status runs/addition
  oarlock status runs/addition --json`;
