/**
 * Resolves the plan of a run with the command line, in a process of its own, or in a pod where the run reads volumes or the hub: engine
 * and models never load on the controller's event loop (P1), and a plan on a cluster is the plan on a laptop.
 */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isOarlockError, OarlockError } from "@oarlock/errors";
import { type ResolvedRun, rolloutWindow } from "@oarlock/runfile";
import type { TrainingRun } from "./api.ts";
import { processEnvironment } from "@oarlock/runtime";
import { NATS_SECRET_UNUSABLE, type WithNats } from "./nats/access.ts";
import { SOURCES_MOUNT } from "./children/sources.ts";
import type { Observed, PlanOutcome } from "./observed.ts";
import { askPlanner, type Execution } from "./planning/ask.ts";
import { runFileOf } from "./planning/job.ts";
import { configMapsOf, hasBundles, isPlannedInPod } from "./run-sources.ts";

/** Resolves the plan of a run; refusals are outcomes, and what may pass is thrown. */
export type Planner = (seen: Observed, signal: AbortSignal) => Promise<PlanOutcome>;

/** Exit code of the command line for a file, model or data that cannot be used. */
const REFUSED = 3;
const MAX_PLAN_BYTES = 16 * 1024 * 1024;

/** Exit code of the command line for a bundle that is not there yet. */
const NOT_YET = 5;

export interface PlannerOptions {
  /** Such as `["oarlock"]`. */
  readonly command: readonly string[];
  /** Bundles are read from there. */
  readonly withNats: WithNats;
  /** The files of a ConfigMap; undefined where there is none. */
  readonly configMap: (
    namespace: string,
    name: string,
    signal: AbortSignal,
  ) => Promise<ReadonlyMap<string, Uint8Array> | undefined>;
}

/** A planner that runs a command. */
export function createPlanner(options: PlannerOptions): Planner {
  return async (seen, signal) => {
    const { run } = seen;
    const absent = await missingSource(run, options, signal);
    if (absent !== undefined) return absent;
    if (isPlannedInPod(run)) {
      const asked = await askPlanner(seen, signal);
      return asked.type === "waiting" ? asked : outcomeOf(run, asked.execution, SOURCES_MOUNT);
    }
    if (!hasBundles(run)) return plan(run, { options, environment: {}, signal });
    try {
      return await options.withNats(run, signal, (settings) => {
        const environment = { ...settings, OARLOCK_UID: run.metadata.uid ?? "" };
        return plan(run, { options, environment, signal });
      });
    } catch (reason) {
      if (!isOarlockError(reason, NATS_SECRET_UNUSABLE)) throw reason;
      return { type: "waiting", message: reason.rawMessage };
    }
  };
}

async function plan(
  run: TrainingRun,
  of: {
    readonly options: PlannerOptions;
    readonly environment: Readonly<Record<string, string>>;
    readonly signal: AbortSignal;
  },
): Promise<PlanOutcome> {
  const { options, environment, signal } = of;
  const folder = await mkdtemp(join(tmpdir(), "oarlock-plan-"));
  try {
    await writeConfigMaps(run, folder, { options, signal });
    const file = join(folder, "run.json");
    await writeFile(file, JSON.stringify(runFileOf(run)));
    const command = [...options.command, "plan", "--json", "--elsewhere", file];
    return outcomeOf(run, await execute(command, environment, signal), folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What the command line said of the file `run.json` in a folder, as an outcome. */
function outcomeOf(run: TrainingRun, { code, stdout, stderr }: Execution, folder: string): PlanOutcome {
  if (code === REFUSED) return { type: "refused", message: withoutFolder(stderr, folder) };
  if (code === NOT_YET) return { type: "waiting", message: withoutFolder(stderr, folder) };
  if (code !== 0)
    throw new OarlockError("PLAN_FAILED", `the planner ended with code ${code}: ${stderr.slice(-1_000)}`, {
      retryable: true,
    });
  return planned(run, stdout);
}

async function missingSource(
  run: TrainingRun,
  { configMap }: PlannerOptions,
  signal: AbortSignal,
): Promise<PlanOutcome | undefined> {
  if (hasBundles(run) && run.spec.nats?.managed !== undefined) {
    const message =
      "bundles are stored before the run begins, and its own message server (spec.nats.managed) comes with it; name one that is there with spec.nats.url";
    return { type: "refused", message };
  }
  for (const name of configMapsOf(run)) {
    if ((await configMap(run.metadata.namespace ?? "default", name, signal)) === undefined)
      return { type: "waiting", message: `ConfigMap ${name} does not exist in the run's namespace` };
  }
  return undefined;
}

async function writeConfigMaps(
  run: TrainingRun,
  folder: string,
  { options, signal }: { readonly options: PlannerOptions; readonly signal: AbortSignal },
): Promise<void> {
  for (const name of configMapsOf(run)) {
    const files = await options.configMap(run.metadata.namespace ?? "default", name, signal);
    const home = join(folder, "configmap", name);
    await mkdir(home, { recursive: true });
    for (const [key, data] of files ?? []) await writeFile(join(home, key), data);
  }
}

/** The document that every pod of the run reads. */
function planned({ metadata }: TrainingRun, stdout: string): PlanOutcome {
  // The command line of this version wrote it.
  const resolved = JSON.parse(stdout) as Pick<ResolvedRun, "digest"> & Partial<Pick<ResolvedRun, "spec">>;
  const document = JSON.stringify({ uid: metadata.uid, baseDir: "/", run: resolved });
  const window = resolved.spec === undefined ? undefined : rolloutWindow(resolved.spec);
  const plan = { type: "planned", document, digest: resolved.digest } as const;
  return window === undefined ? plan : { ...plan, window };
}

function withoutFolder(text: string, folder: string): string {
  return text.replaceAll(`${folder}/run.json`, "the run").trim();
}

function execute(
  [file = "", ...args]: readonly string[],
  more: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Execution> {
  const env = { ...processEnvironment(), ...more };
  return new Promise((resolve, reject) => {
    execFile(file, args, { signal, env, maxBuffer: MAX_PLAN_BYTES }, (error, stdout, stderr) => {
      if (signal.aborted)
        reject(new OarlockError("PLAN_FAILED", "the planner was given up", { retryable: true }));
      else if (error !== null && typeof error.code !== "number")
        reject(
          new OarlockError("PLAN_FAILED", `${file} could not be run: ${error.message}`, { retryable: true }),
        );
      else resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}
