/** `oarlock run FILE`: plans, trains, evaluates, and writes a run folder; `--seeds` repeats it. */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { Command } from "commander";
import { OarlockError, shellWord } from "@oarlock/errors";
import { type RunSummary, spreadOf } from "@oarlock/report";
import { processEnvironment } from "@oarlock/runtime";
import type { CommandContext } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { listenForInterrupt } from "../interrupt.ts";
import { isRunFolder } from "../model-argument.ts";
import { requireMakeable } from "../new-folder.ts";
import { setOption } from "../options.ts";
import { heardBy, loadingLine } from "../render/loading.ts";
import { type Prepared, prepare, refuseProblems } from "../prepare.ts";
import { checkTelemetrySettings } from "@oarlock/workload";
import { renderOutcome, renderSpreads } from "../render/outcome.ts";
import { type EarlierFolder, inspectFolder, takeOver, undoTakeover } from "../earlier-run.ts";
import { planRows, renderCost, renderDecisions } from "../render/plan.ts";
import {
  copyReplacements,
  createRunFolder,
  freeRunFolder,
  type PlanDocument,
  readSamples,
  readSummary,
  requireUnplanned,
  runPaths,
  writeDocument,
  writePlan,
} from "../run-folder.ts";
import { markRunning } from "../running-mark.ts";
import { brokerAtHand, requireBroker } from "../processes/index.ts";
import { runSession, type SessionResult } from "../run-session.ts";
import { parseSeeds } from "../seeds.ts";

interface RunOptions {
  readonly set: readonly string[];
  readonly out?: string;
  readonly seeds?: string;
  readonly processes?: boolean;
}

export function runCommand(context: CommandContext): Command {
  return new Command("run")
    .description("Train: plan, run, evaluate, and write a run folder.")
    .argument("<file>", "run file, YAML or JSON")
    .option(
      "--out <dir>",
      "run folder (default: a new runs/<name>); of an earlier run of this name, finished stages are kept",
    )
    .addOption(setOption())
    .option("--processes", PROCESSES)
    .option("--seeds <seeds>", "repeat with each seed, e.g. 0..2 or 1,5,9, and report mean and spread")
    .addHelpText("after", EXAMPLES)
    .action(async (file: string, options: RunOptions) => {
      if (options.out !== undefined) await requireMakeable(options.out, "--out");
      if (options.seeds === undefined) await runOnce(context, file, options);
      else await runSeeds(context, file, options, parseSeeds(options.seeds));
    });
}

/** `oarlock up FILE`: as `run`, on processes of their own where that is possible. */
export function upCommand(context: CommandContext): Command {
  return new Command("up")
    .description("As run: on processes of their own where there is a NATS server, else all in this one.")
    .argument("<file>", "run file, YAML or JSON")
    .option("--out <dir>", "run folder (default: a new runs/<name>)")
    .addOption(setOption())
    .addHelpText("after", UP_EXAMPLES)
    .action(async (file: string, options: Pick<RunOptions, "set" | "out">) => {
      if (options.out !== undefined) await requireMakeable(options.out, "--out");
      const processes = brokerAtHand(processEnvironment()) !== undefined;
      if (!processes)
        context.terminal.note(
          "no NATS server (NATS_URL, or nats-server 2.11 or newer on the PATH): all in one process",
        );
      await runOnce(context, file, { ...options, processes });
    });
}

/** `keepComplete`: a folder whose run of this very plan is complete counts as run. */
async function runOnce(
  context: CommandContext,
  file: string,
  options: RunOptions & { readonly keepComplete?: boolean },
): Promise<RunSummary> {
  const { terminal, exit } = context;
  if (options.processes === true) requireBroker(processEnvironment());
  const prepared = await prepare(file, options.set, heardBy(terminal));
  refuseProblems(prepared.plan, terminal);
  const folder = options.out ?? (await freeRunFolder(prepared.plan.run.name));
  await undoTakeover(folder);
  const earlier = await inspectFolder(folder, prepared.plan.run);
  if (earlier?.plan.run.digest === prepared.plan.run.digest) {
    const summary = await readSummary(runPaths(folder));
    if (options.keepComplete !== true || summary?.status !== "completed")
      return refuseSamePlan(folder, earlier);
    terminal.note(`the run in ${folder} is complete and is kept`);
    return summary;
  }
  const processes = options.processes ?? false;
  const result = await trainInto(context, prepared, { folder, processes, ...(earlier && { earlier }) });
  if (result.summary.status !== "completed")
    exit(result.summary.status === "stopped" ? EXIT.interrupted : EXIT.failed);
  return result.summary;
}

/** The very same run again is no new run: it is done, or it is to be resumed. */
async function refuseSamePlan(folder: string, { completed }: EarlierFolder): Promise<never> {
  if (!completed) {
    // Throws where a process is at work on it: a resume would be refused as well.
    await using _mark = await markRunning(folder);
  }
  const state = completed
    ? "is complete: nothing in its inputs changed;"
    : `was not finished; \`oarlock resume ${shellWord(folder)}\` continues it,`;
  throw new OarlockError("RUN_FOLDER_TAKEN", `the run in ${folder} ${state} another --out repeats it`);
}

interface Target {
  readonly folder: string;
  readonly processes: boolean;
  /** A run of this name that is in the folder. */
  readonly earlier?: EarlierFolder;
  /** Folder of a run whose scorers were replaced: they are in this one at the same steps. */
  readonly replacementsOf?: string;
}

/** Runs a checked plan in a folder, from the first line to the last. */
export async function trainInto(
  context: CommandContext,
  prepared: Prepared,
  { folder, processes, earlier, replacementsOf }: Target,
): Promise<SessionResult> {
  const { terminal, now } = context;
  const { source, plan } = prepared;
  checkTelemetrySettings();
  const paths = earlier === undefined ? await createRunFolder(folder) : runPaths(folder);
  await using _mark = await markRunning(folder);
  // A short run of another process may have come and gone before the folder was marked.
  if (earlier === undefined) await requireUnplanned(paths);
  const finishTakeover = earlier && (await takeOver(folder, plan.run, earlier));
  const document: PlanDocument = {
    uid: randomUUID(),
    source: source.path,
    baseDir: source.baseDir,
    set: source.set,
    run: plan.run,
    values: planRows(plan.run.spec, plan.origins),
  };
  await writePlan(paths, document, source.text);
  await finishTakeover?.();
  if (replacementsOf !== undefined) await copyReplacements(replacementsOf, folder);
  terminal.note(renderCost(plan, undefined, terminal.style));
  if (earlier !== undefined) terminal.note(`\n${renderDecisions(earlier.decisions, terminal.style)}`);
  terminal.note(terminal.style.dim(`run folder ${folder}\n`));
  using interrupt = listenForInterrupt(terminal, DRAINING);
  const { signal } = interrupt;
  const session = { paths, plan: document, resume: false, processes, terminal, signal, now };
  const result = await runSession(session);
  const samples = await readSamples(paths);
  const { width, style } = terminal;
  terminal.print(`\n${renderOutcome({ ...result, samples, report: paths.report, width, style })}`);
  return result;
}

/** What `--processes` does. */
export const PROCESSES: string =
  "learner, actors and reward worker each in a process of its own, over NATS (NATS_URL, else nats-server on the PATH)";

/** What the first Ctrl-C says. */
export const DRAINING: string = "\nstopping: draining to a checkpoint (Ctrl-C again to end at once)";

async function runSeeds(
  context: CommandContext,
  file: string,
  options: RunOptions,
  seeds: readonly number[],
): Promise<void> {
  const { terminal } = context;
  const folder =
    options.out ??
    (await freeRunFolder(
      (await prepare(file, options.set, { onProgress: loadingLine(terminal) })).plan.run.name,
    ));
  if (await isRunFolder(folder)) {
    throw new OarlockError(
      "RUN_FOLDER_TAKEN",
      `${folder} holds a run, and --seeds makes a folder of runs: choose another --out`,
    );
  }
  const summaries: RunSummary[] = [];
  for (const seed of seeds) {
    terminal.note(terminal.style.bold(`seed ${seed}`));
    const set = [...options.set, `seed=${seed}`];
    const out = join(folder, `seed-${seed}`);
    const summary = await runOnce(context, file, { ...options, set, out, keepComplete: true });
    if (summary.status !== "completed") return;
    summaries.push(summary);
  }
  const spreads = spreadsOf(summaries);
  const document = { seeds, spreads: Object.fromEntries(spreads), summaries };
  await writeDocument(join(folder, "seeds.json"), `${JSON.stringify(document, undefined, 2)}\n`);
  terminal.print(`\n${renderSpreads(spreads)}`);
}

/** Evaluation after each stage, and the final metrics that every seed has. */
function spreadsOf(summaries: readonly RunSummary[]): Map<string, ReturnType<typeof spreadOf>> {
  const numbers = summaries.map((summary) => new Map(comparedNumbers(summary)));
  const names = [...new Set(numbers.flatMap((values) => [...values.keys()]))];
  return new Map(
    names.flatMap((name) => {
      const values = numbers.map((of) => of.get(name)).filter((value) => value !== undefined);
      return values.length === summaries.length ? [[name, spreadOf(values)] as const] : [];
    }),
  );
}

function comparedNumbers({ stages, finalMetrics, seconds }: RunSummary): (readonly [string, number])[] {
  const evaluated = stages.flatMap(({ name, after }) =>
    Object.entries(after?.metrics ?? {})
      .filter(([metric]) => metric.startsWith("val-") && !/\/ci_(low|high)$/.test(metric))
      .map(([metric, value]) => [`after ${name}: ${metric.replace("val-core/", "")}`, value] as const),
  );
  const final = COMPARED.flatMap((name) =>
    finalMetrics[name] === undefined ? [] : [[`final ${name}`, finalMetrics[name]] as const],
  );
  return [...evaluated, ...final, ["seconds", seconds]];
}

const COMPARED = [
  "critic/score/mean",
  "actor/kl_loss",
  "actor/entropy",
  "response_length/mean",
  "train/loss",
];

const UP_EXAMPLES = `
Examples:
  oarlock up examples/addition.yaml
  NATS_URL=nats://localhost:4222 oarlock up run.yaml --out runs/first`;

const EXAMPLES = `
Examples:
  oarlock run examples/addition.yaml
  oarlock run run.yaml --out runs/first --set stages.grpo.steps=50
  oarlock run run.yaml --seeds 0..2
  oarlock run run.yaml --processes

Everything is in one process, over memory, whatever NATS_URL says; \`--processes\` and \`oarlock up\` go over NATS.
Ctrl-C once drains to a checkpoint, and \`oarlock resume DIR\` continues bit for bit; twice ends at once.`;
