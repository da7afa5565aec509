/**
 * `npm run controls`: repeats the experiments of the docs over their seeds or folds and prints a table of each in Markdown.
 *
 *   npm run controls -- happy over-optimisation --model stories260K
 *   npm run controls -- hh-rlhf --model stories260K --pairs pairs.jsonl --out runs/controls
 *
 * Without names, all. It runs the built `oarlock`, one run at a time; `--out DIR` keeps their folders, and takes runs that are
 * complete there as they are. Intervals are Student's, 95 %, over seeds or folds: pairs of one first human turn are in one
 * fold, so folds are as good as independent.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { openFileData, type Prompt } from "@oarlock/data";
import { parseMetrics, type RunSummary, spreadOf } from "@oarlock/report";
import { type Experiment, EXPERIMENTS, type FinishedRun, NEEDS } from "./experiments.ts";

const root = join(import.meta.dirname, "../..");
/** 97.5 % quantile of Student's t by degrees of freedom. */
const STUDENT: Readonly<Record<number, number>> = { 1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776 };

const needs = Object.keys(NEEDS) as (keyof typeof NEEDS)[];
const names = Object.keys(EXPERIMENTS);

function refuse(message: string): never {
  console.error(message);
  process.exit(2);
}

const USAGE = `npm run controls -- [NAME…] [--out DIR] ${needs.map((need) => `[--${need} PATH]`).join(" ")}

${Object.entries(EXPERIMENTS)
  .map(([name, { title }]) => `  ${name.padEnd(18)}${title}`)
  .join("\n")}

${needs.map((need) => `  ${`--${need}`.padEnd(18)}${NEEDS[need].what}`).join("\n")}
  --out             keeps the run folders here; complete ones are taken as they are

Example: npm run controls -- happy over-optimisation --model stories260K`;

function commandLine() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        help: { type: "boolean" },
        out: { type: "string" },
        ...Object.fromEntries(needs.map((name) => [name, { type: "string" as const }])),
      },
    });
  } catch (error) {
    return refuse(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
  }
}

const { values: given, positionals } = commandLine();
if (given["help"] === true) {
  console.log(USAGE);
  process.exit(0);
}
const paths = given as Readonly<Record<string, string | undefined>>; // but for help, all are strings

const wanted = positionals.length === 0 ? names : positionals;
for (const name of wanted) {
  const experiment = EXPERIMENTS[name];
  if (experiment === undefined) refuse(`${name}: accepted: ${names.join(", ")}`);
  for (const need of experiment.needs) {
    const path = paths[need];
    if (path === undefined) refuse(`${name} needs --${need} PATH: ${NEEDS[need].what}`);
    if (!existsSync(path)) refuse(`--${need} ${path}: nothing is there`);
  }
}

/** Runs it to its end, or takes a complete run that an earlier call left in the folder as it is. */
function finish(folder: string, file: string, set: readonly string[]): FinishedRun {
  const done = finishedIn(folder);
  if (done !== undefined) return done;
  const begin = performance.now();
  const args = ["run", file, "--out", folder, ...set.flatMap((value) => ["--set", value])];
  const { status, stderr } = spawnSync(process.execPath, [join(root, "apps/cli/bin/oarlock.js"), ...args], {
    cwd: root,
    stdio: ["ignore", "ignore", "pipe"],
    encoding: "utf8",
  });
  const found = finishedIn(folder);
  if (status !== 0 || found === undefined)
    return refuse(`oarlock ${args.join(" ")} ended with ${status}\n${stderr}`);
  console.error(`${basename(folder)}: ${((performance.now() - begin) / 1000).toFixed(0)} s`);
  return found;
}

function finishedIn(folder: string): FinishedRun | undefined {
  if (!existsSync(join(folder, "summary.json"))) return undefined;
  const summary = JSON.parse(readFileSync(join(folder, "summary.json"), "utf8")) as RunSummary; // written by the run
  const records = parseMetrics(readFileSync(join(folder, "metrics.jsonl"), "utf8"));
  return summary.status === "completed" ? { summary, records } : undefined;
}

const short = (value: number): string => (Number.isInteger(value) ? String(value) : value.toFixed(3));

function meanWithInterval(values: readonly number[]): string {
  const { mean, standardDeviation, count } = spreadOf(values);
  if (standardDeviation === 0) return short(mean);
  const half = ((STUDENT[count - 1] ?? 1.96) * standardDeviation) / Math.sqrt(count);
  return `${mean.toFixed(3)} (${(mean - half).toFixed(3)} to ${(mean + half).toFixed(3)})`;
}

function printTable(
  name: string,
  { title, needs: needed, cases, columns, read }: Experiment,
  out: string,
): void {
  const local = needed.map((need) => NEEDS[need].set(resolve(paths[need] ?? "")));
  const rows = cases.flatMap((variant, number) => {
    const runs = columns.map((column) => {
      const folder = join(out, `${name}-${number}-${column.name.replace(" ", "-")}`);
      return read(finish(folder, variant.file, [...local, ...(variant.set ?? []), ...column.set]));
    });
    return Object.keys(runs[0] ?? {}).map((row) => {
      const values = runs.map((run) => run[row] ?? Number.NaN);
      return [`${variant.name}: ${row}`, ...values.map(short), meanWithInterval(values)];
    });
  });
  const head = [title, ...columns.map((column) => column.name), "mean (95 %)"];
  for (const cells of [head, head.map(() => "---"), ...rows]) console.log(`| ${cells.join(" | ")} |`);
  console.log();
}

const lengthOf = (prompt: Prompt | undefined): number =>
  typeof prompt === "string"
    ? prompt.length
    : (prompt ?? []).reduce((sum, { content }) => sum + content.length, 0);

/** A control without any model. */
async function longerIsBetter(pairs: string): Promise<string> {
  const { rows } = await openFileData({ path: basename(pairs) }, { baseDir: dirname(resolve(pairs)) });
  const right = rows.reduce((sum, { chosen, rejected }) => {
    const lead = lengthOf(chosen) - lengthOf(rejected);
    return sum + (lead > 0 ? 1 : lead === 0 ? 0.5 : 0);
  }, 0);
  return `"longer is better": ${(right / rows.length).toFixed(4)} of ${rows.length} pairs`;
}

const out = paths["out"] ?? mkdtempSync(join(tmpdir(), "oarlock-controls-"));
for (const name of wanted) {
  const experiment = EXPERIMENTS[name];
  if (experiment !== undefined) printTable(name, experiment, out);
  if (name === "hh-rlhf") console.log(await longerIsBetter(paths["pairs"] ?? ""));
}
if (paths["out"] === undefined) rmSync(out, { recursive: true, force: true });
