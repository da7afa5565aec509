/**
 * The folder of a run: what lies where, and reading it back. Writing of records, samples, checkpoints and the final
 * model is the run's own; this file owns the plan, the summary, the report and the TensorBoard files.
 */
import { createReadStream, existsSync } from "node:fs";
import { copyFile, mkdir, readdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf, OarlockError, shellWord } from "@oarlock/errors";
import { REPLACEMENTS_FILE, type Replacement } from "@oarlock/learner";
import {
  type MetricsRecord,
  parseMetrics,
  type PlanRow,
  renderReport,
  type RunSummary,
  type SampleRecord,
  samplesIn,
} from "@oarlock/report";
import { requireUnchanged, type ResolvedRun } from "@oarlock/runfile";
import { requireMakeable } from "./new-folder.ts";
import { CLAIM_PREFIX, RUNNING_FOLDER } from "./running-mark.ts";

/** Paths inside a run folder. */
export interface RunPaths {
  readonly folder: string;
  /** The run file as it was read. */
  readonly runFile: string;
  readonly plan: string;
  readonly metrics: string;
  readonly samples: string;
  readonly tensorboard: string;
  readonly checkpoints: string;
  /** The trained policy in Hugging Face layout. */
  readonly final: string;
  readonly summary: string;
  /** When the present sitting began: until its summary is written. */
  readonly sitting: string;
  readonly report: string;
}

export function runPaths(folder: string): RunPaths {
  return {
    folder,
    runFile: join(folder, "run.yaml"),
    plan: join(folder, "plan.json"),
    metrics: join(folder, "metrics.jsonl"),
    samples: join(folder, "samples.jsonl"),
    tensorboard: join(folder, "tensorboard"),
    checkpoints: join(folder, "checkpoints"),
    final: join(folder, "final"),
    summary: join(folder, "summary.json"),
    sitting: join(folder, "sitting.json"),
    report: join(folder, "report.html"),
  };
}

/** `plan.json`: the resolved run and how it came about. */
export interface PlanDocument {
  /** Identity of this run, kept across resumes; changes no bits. */
  readonly uid: string;
  /** Absolute path that the run file was read from; relative paths in it resolve against its folder. */
  readonly source: string;
  readonly baseDir: string;
  readonly set: readonly string[];
  readonly run: ResolvedRun;
  readonly values: readonly PlanRow[];
}

/** Makes the folder; refuses one that already holds something. */
export async function createRunFolder(folder: string): Promise<RunPaths> {
  await requireMakeable(folder, "the run folder");
  await mkdir(folder, { recursive: true });
  const paths = runPaths(folder);
  await requireUnplanned(paths);
  // First of all: it tells a run's own files from those of a user.
  await mkdir(paths.tensorboard, { recursive: true });
  return paths;
}

/** Throws `RUN_FOLDER_TAKEN` where the folder holds more than a run writes before its plan. */
export async function requireUnplanned({ folder, tensorboard, plan }: RunPaths): Promise<void> {
  const names = await readdir(folder);
  const records = await readdir(tensorboard).catch(() => undefined);
  const begun = records?.length === 0 && names.every(isBeforePlan);
  if (names.length === 0 || begun) return;
  const resume = `, or \`oarlock resume ${shellWord(folder)}\` to continue the run in it`;
  throw new OarlockError(
    "RUN_FOLDER_TAKEN",
    `${folder} is not empty: choose another --out${existsSync(plan) ? resume : ""}`,
  );
}

const BEFORE_PLAN: ReadonlySet<string> = new Set([
  "tensorboard",
  RUNNING_FOLDER,
  "run.yaml.tmp",
  "run.yaml",
  "plan.json.tmp",
]);

const isBeforePlan = (name: string): boolean => BEFORE_PLAN.has(name) || name.startsWith(CLAIM_PREFIX);

/** The first of `runs/name`, `runs/name-2`, … that is free. */
export async function freeRunFolder(name: string, root = "runs"): Promise<string> {
  for (let number = 1; ; number++) {
    const folder = join(root, number === 1 ? name : `${name}-${number}`);
    if ((await stat(folder).catch(() => undefined)) === undefined) return folder;
  }
}

/** Writes a document so that a crash leaves the old one or the new one. */
export async function writeDocument(path: string, text: string): Promise<void> {
  await writeFile(`${path}.tmp`, text);
  await rename(`${path}.tmp`, path);
}

export async function writePlan(paths: RunPaths, plan: PlanDocument, runFileText: string): Promise<void> {
  await writeDocument(paths.runFile, runFileText);
  await writeDocument(paths.plan, `${JSON.stringify(plan, undefined, 2)}\n`);
}

/** Reads `plan.json`; the folder must be one that `oarlock run` made. */
export async function readPlan(folder: string): Promise<PlanDocument> {
  const { plan } = runPaths(folder);
  const text = await readOptional(plan);
  if (text === "") {
    throw new OarlockError(
      "RUN_FOLDER_INVALID",
      `${folder} is not a run folder: it has no plan.json; accepted: ${await runsWithin(folder)}`,
    );
  }
  const document = parsed(text);
  if (!isPlanDocument(document))
    throw new OarlockError("RUN_FOLDER_INVALID", `${plan} is not a plan of this version`);
  requireUnchanged(document.run, plan);
  return document;
}

/** What to name instead of a folder that is no run's: one of those in it that are, as `run --seeds` leaves them. */
async function runsWithin(folder: string): Promise<string> {
  const names = await readdir(folder).catch(() => []);
  const runs = names.filter((name) => existsSync(runPaths(join(folder, name)).plan)).sort();
  return runs.length === 0
    ? "a folder that `oarlock run` wrote"
    : `one of the runs in it, ${listed(runs.map((name) => join(folder, name)))}`;
}

/** The first few of many. */
const listed = (names: readonly string[]): string =>
  names.length <= 5 ? names.join(", ") : `${names.slice(0, 5).join(", ")}, …`;

/** undefined: it is no JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isPlanDocument(value: unknown): value is PlanDocument {
  if (typeof value !== "object" || value === null || !("run" in value) || !("uid" in value)) return false;
  const { run } = value;
  return (
    typeof run === "object" && run !== null && "kind" in run && run.kind === "ResolvedRun" && "spec" in run
  );
}

/** Records of a run so far; none where there is no file yet. After a resume the newest record of a step counts. */
export async function readRecords(paths: RunPaths): Promise<readonly MetricsRecord[]> {
  const newest = new Map<string, MetricsRecord>();
  for (const record of parseMetrics(await readOptional(paths.metrics))) {
    const key = `${record.kind} ${record.when ?? ""} ${record.stage} ${record.step}`;
    newest.delete(key);
    newest.set(key, record);
  }
  return [...newest.values()];
}

export async function readSamples(paths: RunPaths): Promise<readonly SampleRecord[]> {
  const samples: SampleRecord[] = [];
  try {
    // There may be more of them than fit into a string.
    for await (const sample of samplesIn(createReadStream(paths.samples, "utf8"))) samples.push(sample);
  } catch (cause) {
    if (!isAbsent(cause)) throw cause;
  }
  return samples;
}

/** The summary, where the run has ended at least once. */
export function readSummary(paths: RunPaths): Promise<RunSummary | undefined> {
  return readJson<RunSummary>(paths.summary);
}

/** A document, where it is there. Written whole by writeDocument, and only by this program: its type is what was written. */
export async function readJson<T>(path: string): Promise<T | undefined> {
  const text = await readOptional(path);
  return text === "" ? undefined : (JSON.parse(text) as T);
}

async function readOptional(path: string): Promise<string> {
  return readFile(path, "utf8").catch((cause: unknown) => {
    if (isAbsent(cause)) return "";
    throw cause;
  });
}

const isAbsent = (cause: unknown): boolean => errnoOf(cause) === "ENOENT" || errnoOf(cause) === "ENOTDIR";

/** Writes summary and report. */
export async function writeOutcome(paths: RunPaths, plan: PlanDocument, summary: RunSummary): Promise<void> {
  const [records, samples] = [await readRecords(paths), await readSamples(paths)];
  const { parameters } = plan.run.inputs.model;
  await writeDocument(paths.summary, `${JSON.stringify(summary, undefined, 2)}\n`);
  await writeDocument(
    paths.report,
    renderReport({ summary, records, samples, plan: plan.values, parameters }),
  );
}

/** Which scorers others took the place of, in order. Written whole by the learner, and only by it. */
export async function readReplacements(folder: string): Promise<readonly Replacement[]> {
  const text = await readFile(join(folder, REPLACEMENTS_FILE), "utf8").catch(() => undefined);
  if (text === undefined) return [];
  const { replacements = [] } = JSON.parse(text) as { readonly replacements?: readonly Replacement[] };
  return replacements;
}

/** Gives a folder the replacements of scorers of another, with the models that took over. */
export async function copyReplacements(from: string, to: string): Promise<void> {
  const replacements = await readReplacements(from);
  if (replacements.length === 0) return;
  await copyFile(join(from, REPLACEMENTS_FILE), join(to, REPLACEMENTS_FILE));
  // The learner verifies the weights by their digest when it reads them.
  await mkdir(join(to, "artifacts"), { recursive: true });
  for (const { model } of replacements) {
    if (model === undefined || !/^[0-9a-f]{64}$/.test(model.digest)) continue;
    const name = join("artifacts", `${model.digest}.f32`);
    await copyFile(join(from, name), join(to, name));
  }
}
