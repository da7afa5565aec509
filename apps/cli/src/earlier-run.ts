/**
 * A run into a folder that holds one already: stages that it finished, and whose inputs are the same, are kept; the others run.
 * What the earlier run left (plan, records, checkpoints, report, model) moves to `earlier/<n>` first, so that nothing is lost.
 *
 * A kill on the way is undone by whoever comes next. The place's name says how far it was: `<n>.moving` while the earlier run's
 * files are on their way there, `<n>.replacing` while the new run's first ones are written, and `<n>` once its plan is.
 */
import { mkdir, readdir, readFile, rename, rm, rmdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { StageArtifact } from "@oarlock/checkpoint";
import { OarlockError } from "@oarlock/errors";
import { KEPT_FILE, type KeptFile } from "@oarlock/learner";
import {
  decideStages,
  digestOf,
  modelsOf,
  type ResolvedRun,
  type StageDecision,
  stageInputs,
} from "@oarlock/runfile";
import { CLAIM_PREFIX, markRunning, RUNNING_FOLDER } from "./running-mark.ts";
import { type PlanDocument, readPlan, readSummary, runPaths, writeDocument } from "./run-folder.ts";

/** What a folder's run has made, seen from a new plan. */
export interface EarlierFolder {
  readonly plan: PlanDocument;
  readonly completed: boolean;
  readonly artifacts: readonly StageArtifact[];
  readonly decisions: readonly StageDecision[];
}

/** Looks at `folder`; undefined where no run was planned in it. Throws `RUN_FOLDER_TAKEN` where it is of another run. */
export async function inspectFolder(folder: string, run: ResolvedRun): Promise<EarlierFolder | undefined> {
  const paths = runPaths(folder);
  if (!(await exists(paths.plan))) return undefined;
  const plan = await readPlan(folder);
  if (plan.run.name !== run.name) {
    throw new OarlockError(
      "RUN_FOLDER_TAKEN",
      `${folder} holds the run ${plan.run.name}, and this one is ${run.name}: choose another --out`,
    );
  }
  const artifacts = await readArtifacts(folder);
  const finished = new Map(artifacts.map(({ stage, inputs = "" }) => [stage, inputs]));
  return {
    plan,
    completed: (await readSummary(paths))?.status === "completed",
    artifacts,
    decisions: decideStages(run, { run: plan.run, finished }),
  };
}

/** The results of finished stages whose weights are there; the learner verifies them when it reads them. */
export async function readArtifacts(folder: string): Promise<StageArtifact[]> {
  const artifacts = join(folder, "artifacts");
  const names = await readdir(artifacts).catch(() => []);
  const found: StageArtifact[] = [];
  for (const name of names.filter((one) => one.endsWith(".json")).toSorted()) {
    // Written whole by the learner, and only by it; the weights beside it are verified by their digest.
    const artifact = JSON.parse(await readFile(join(artifacts, name), "utf8")) as StageArtifact;
    if (/^[0-9a-f]{64}$/.test(artifact.digest) && (await exists(join(artifacts, `${artifact.digest}.f32`))))
      found.push(artifact);
  }
  return found;
}

/**
 * Moves the earlier run aside and says what the new one keeps; the folder is then ready for its plan. Call the result once that is
 * written: from then on the folder is the new run's.
 */
export async function takeOver(
  folder: string,
  run: ResolvedRun,
  earlier: EarlierFolder,
): Promise<() => Promise<void>> {
  const place = await moveAside(folder);
  const kept = new Set(earlier.decisions.flatMap(({ name, runs }) => (runs ? [] : [name])));
  const inputs = new Map(stageInputs(run).map(({ name, digest }) => [name, digest]));
  const file: KeptFile = {
    stages: earlier.artifacts.filter(
      ({ stage, inputs: made }) => kept.has(stage) && inputs.get(stage) === made,
    ),
    records: `earlier/${place}`,
    sameEvaluation: evaluationDigest(run) === evaluationDigest(earlier.plan.run),
  };
  await writeDocument(join(folder, KEPT_FILE), `${JSON.stringify(file, undefined, 2)}\n`);
  await mkdir(runPaths(folder).tensorboard);
  return () => rename(placeOf(folder, place, "replacing"), placeOf(folder, place));
}

/** Where a kill left the folder between two runs, gives it back to the earlier one. */
export async function undoTakeover(folder: string): Promise<void> {
  const names = await readdir(join(folder, "earlier")).catch(() => []);
  const [name] = names.filter((one) => /^\d+\.(?:moving|replacing)$/.test(one));
  if (name === undefined) return;
  await using _mark = await markRunning(folder);
  const place = String(Number.parseInt(name));
  const moving = placeOf(folder, place, "moving");
  if (name.endsWith(".replacing")) {
    // The new run has not begun: what lies here is its plan at most.
    for (const begun of await movable(folder)) await rm(join(folder, begun), { recursive: true });
    await rename(placeOf(folder, place, "replacing"), moving);
  }
  for (const moved of await readdir(moving)) await rename(join(moving, moved), join(folder, moved));
  await rmdir(moving);
}

/** What stays: results by their content, what was moved aside before, and marks of who is at work. */
const STAYS: ReadonlySet<string> = new Set(["artifacts", "earlier", RUNNING_FOLDER]);

const movable = async (folder: string): Promise<string[]> =>
  (await readdir(folder)).filter((name) => !STAYS.has(name) && !name.startsWith(CLAIM_PREFIX));

const placeOf = (folder: string, place: string, state?: "moving" | "replacing"): string =>
  join(folder, "earlier", state === undefined ? place : `${place}.${state}`);

/** Number of the place. */
async function moveAside(folder: string): Promise<string> {
  const root = join(folder, "earlier");
  await mkdir(root, { recursive: true });
  const numbers = (await readdir(root)).map(Number).filter(Number.isInteger);
  const place = String(Math.max(0, ...numbers) + 1);
  const moving = placeOf(folder, place, "moving");
  await mkdir(moving);
  for (const name of await movable(folder)) await rename(join(folder, name), join(moving, name));
  await rename(moving, placeOf(folder, place, "replacing"));
  return place;
}

/** Of everything that decides what an evaluation of one policy finds. */
function evaluationDigest({ spec, inputs }: ResolvedRun): string {
  const { evaluation, compute, seed } = spec;
  const of = ({ path }: { readonly path: string }): boolean => path.startsWith("evaluation.");
  const { actors: _a, generationWorkers: _g, rewardWorkers: _r, ...engine } = compute;
  const evaluated = new Set((evaluation?.rewards ?? []).flatMap(modelsOf).map(({ from }) => from));
  const read = {
    data: inputs.data.filter(of),
    functions: inputs.functions.filter(of),
    scorers: (inputs.scorers ?? []).filter(({ from }) => evaluated.has(from)),
    engine: inputs.engine,
  };
  return digestOf({ evaluation: evaluation ?? null, seed, engine, read });
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
