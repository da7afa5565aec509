/** `oarlock reproduce DIR`: runs a folder's plan again, and names the first step that differs and what changed. */
import { join } from "node:path";
import { OarlockError } from "@oarlock/errors";
import { irreproducibleBecause } from "@oarlock/runfile";
import { Command } from "commander";
import { changedInputs, changeLine, firstDifference } from "../compare-runs.ts";
import type { CommandContext } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { requireMakeable } from "../new-folder.ts";
import { loadingLine } from "../render/loading.ts";
import { prepareAgain, refuseProblems } from "../prepare.ts";
import { readPlan, readRecords, runPaths } from "../run-folder.ts";
import { trainInto } from "./run.ts";

export function reproduceCommand(context: CommandContext): Command {
  return new Command("reproduce")
    .description("Run a folder's plan again and compare every policy version, bit for bit.")
    .argument("<dir>", "run folder")
    .option("--out <dir>", "folder of the second run (default: <dir>/reproduced)")
    .addHelpText("after", EXAMPLES)
    .action(async (folder: string, options: { out?: string }) =>
      reproduce(context, folder, options.out ?? join(folder, "reproduced")),
    );
}

async function reproduce(context: CommandContext, folder: string, out: string): Promise<void> {
  const { terminal, exit } = context;
  const was = await readPlan(folder);
  if (was.run.spec.pipeline.mode === "streaming") {
    throw new OarlockError(
      "RUN_NOT_REPRODUCIBLE",
      `${folder} cannot be reproduced: ${irreproducibleBecause(was.run.spec)}`,
    );
  }
  await requireMakeable(out, "--out");
  const prepared = await prepareAgain(runPaths(folder), was, { onProgress: loadingLine(terminal) });
  const changed = changedInputs(was.run, prepared.plan.run);
  for (const change of changed) terminal.note(changeLine(change));
  refuseProblems(prepared.plan, terminal);
  const { summary } = await trainInto(context, prepared, {
    folder: out,
    processes: false,
    replacementsOf: folder,
  });
  if (summary.status !== "completed")
    return exit(summary.status === "stopped" ? EXIT.interrupted : EXIT.failed);
  const expected = await readRecords(runPaths(folder));
  const difference = firstDifference(expected, await readRecords(runPaths(out)));
  if (difference === undefined) {
    const steps = expected.filter(({ kind }) => kind === "step");
    const which =
      steps.length < summary.steps ? `each of the ${steps.length} policy versions` : "every policy version";
    const last = steps.at(-1)?.policyDigest;
    terminal.print(
      `${terminal.style.good("reproduced")}: ${which} is the same${last === undefined ? "" : `, to ${last}`}`,
    );
    return;
  }
  const { stage, step, found } = difference;
  const because =
    changed.length === 0
      ? "no input of the plan changed: please report this"
      : changed.map(changeLine).join("\n");
  terminal.print(
    `${terminal.style.bad("different")} from stage ${stage} step ${step} on: ${difference.expected} became ${found ?? "nothing"}\n${because}`,
  );
  exit(EXIT.different);
}

const EXAMPLES = `
Examples:
  oarlock reproduce runs/addition
  oarlock reproduce runs/addition --out /tmp/again`;
