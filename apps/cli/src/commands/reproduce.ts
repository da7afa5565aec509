/** `oarlock reproduce DIR`: runs a folder's plan again, and names the first step that differs and what changed. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { OarlockError, shellWord } from "@oarlock/errors";
import type { RunSummary } from "@oarlock/report";
import { irreproducibleBecause } from "@oarlock/runfile";
import { Command } from "commander";
import { changedInputs, changeLine, firstDifference } from "../compare-runs.ts";
import type { CommandContext } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { requireMakeable } from "../new-folder.ts";
import { loadingLine } from "../render/loading.ts";
import { type Prepared, prepareAgain, refuseProblems } from "../prepare.ts";
import { type PlanDocument, readPlan, readRecords, runPaths } from "../run-folder.ts";
import { resumeRun } from "./resume.ts";
import { trainInto } from "./run.ts";

export function reproduceCommand(context: CommandContext): Command {
  return new Command("reproduce")
    .description("Run a folder's plan again and compare every policy version, bit for bit.")
    .argument("<dir>", "run folder")
    .option("--out <dir>", "folder of the second run (default: <dir>/reproduced)")
    .addHelpText("after", EXAMPLES)
    .action(async (folder: string, options: { out?: string }) =>
      reproduce(context, { folder, out: options.out ?? defaultOut(folder) }),
    );
}

const defaultOut = (folder: string): string => join(folder, "reproduced");

interface Reproduction {
  readonly folder: string;
  /** Of the second run. */
  readonly out: string;
}

async function reproduce(context: CommandContext, { folder, out }: Reproduction): Promise<void> {
  const { terminal, exit } = context;
  const was = await readPlan(folder);
  await refuseIncomparable(folder, was);
  await requireMakeable(out, "--out");
  const prepared = await prepareAgain(runPaths(folder), was, { onProgress: loadingLine(terminal) });
  const changed = changedInputs(was.run, prepared.plan.run);
  for (const change of changed) terminal.note(changeLine(change));
  refuseProblems(prepared.plan, terminal);
  const { status, steps } = await secondRun(context, prepared, { folder, out, uid: was.uid });
  if (status !== "completed") {
    const elsewhere = out === defaultOut(folder) ? "" : ` --out ${shellWord(out)}`;
    terminal.print(`compare  once it is complete: oarlock reproduce ${shellWord(folder)}${elsewhere}`);
    return exit(status === "stopped" ? EXIT.interrupted : EXIT.failed);
  }
  const expected = (await readRecords(runPaths(folder))).filter(({ kind }) => kind === "step");
  const difference = firstDifference(expected, await readRecords(runPaths(out)));
  if (difference === undefined) {
    const which =
      expected.length < steps ? `each of the ${expected.length} policy versions` : "every policy version";
    terminal.print(
      `${terminal.style.good("reproduced")}: ${which} is the same, to ${expected.at(-1)?.policyDigest}`,
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

async function refuseIncomparable(folder: string, { run }: PlanDocument): Promise<void> {
  if (run.spec.pipeline.mode === "streaming") {
    throw new OarlockError(
      "RUN_NOT_REPRODUCIBLE",
      `${folder} cannot be reproduced: ${irreproducibleBecause(run.spec)}`,
    );
  }
  if ((await readRecords(runPaths(folder))).some(({ kind }) => kind === "step")) return;
  throw new OarlockError(
    "RUN_NOT_BEGUN",
    `${folder} ended before its first step: there is no policy version to compare with; accepted: a run with one, ` +
      `e.g. after \`oarlock resume ${shellWord(folder)}\``,
  );
}

/** Runs the plan again; where that was begun before, only what is left of it. */
async function secondRun(
  context: CommandContext,
  prepared: Prepared,
  { folder, out, uid }: Reproduction & { readonly uid: string },
): Promise<RunSummary> {
  const begun = existsSync(runPaths(out).plan) ? await readPlan(out) : undefined;
  // The run itself is no second one, nor is a copy of it.
  if (begun?.run.digest === prepared.plan.run.digest && begun.uid !== uid) return resumeRun(context, out);
  const target = { folder: out, processes: false, replacementsOf: folder };
  return (await trainInto(context, prepared, target)).summary;
}

const EXAMPLES = `
Examples:
  oarlock reproduce runs/addition
  oarlock reproduce runs/addition --out /tmp/again

A second run that was stopped goes on; one that is complete is compared as it is.`;
