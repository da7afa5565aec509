/**
 * Resolves the plan of a run with the command line, in a process of its own: engine and models never load on the
 * controller's event loop (P1), and a plan on a cluster is the plan on a laptop.
 */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OarlockError } from "@oarlock/errors";
import { type ResolvedRun, rolloutWindow } from "@oarlock/runfile";
import type { TrainingRun } from "./api.ts";
import { processEnvironment } from "@oarlock/runtime";
import type { PlanOutcome } from "./observed.ts";
import { configMapsOf, hasBundles } from "./run-sources.ts";

/** Resolves the plan of a run; refusals are outcomes, and what may pass is thrown. */
export type Planner = (run: TrainingRun, signal: AbortSignal) => Promise<PlanOutcome>;

/** Exit code of the command line for a file, model or data that cannot be used. */
const REFUSED = 3;
const MAX_PLAN_BYTES = 16 * 1024 * 1024;

/** Exit code of the command line for a bundle that is not there yet. */
const NOT_YET = 5;

export interface PlannerOptions {
  /** Such as `["oarlock"]`. */
  readonly command: readonly string[];
  /** Message server of runs that name none: bundles are read from it. */
  readonly natsUrl: string | undefined;
  /** The files of a ConfigMap; undefined where there is none. */
  readonly configMap: (
    namespace: string,
    name: string,
    signal: AbortSignal,
  ) => Promise<ReadonlyMap<string, Uint8Array> | undefined>;
}

/** A planner that runs a command. */
export function createPlanner(options: PlannerOptions): Planner {
  return async (run, signal) => {
    const absent = await missingSource(run, options, signal);
    if (absent !== undefined) return absent;
    const folder = await mkdtemp(join(tmpdir(), "oarlock-plan-"));
    try {
      await writeConfigMaps(run, folder, { options, signal });
      const file = join(folder, "run.json");
      await writeFile(file, JSON.stringify(runFileOf(run)));
      const command = [...options.command, "plan", "--elsewhere", "--json", file];
      const { code, stdout, stderr } = await execute(command, environmentOf(run, options), signal);
      if (code === REFUSED) return { type: "refused", message: withoutFolder(stderr, folder) };
      if (code === NOT_YET) return { type: "waiting", message: withoutFolder(stderr, folder) };
      if (code !== 0)
        throw new OarlockError(
          "PLAN_FAILED",
          `the planner ended with code ${code}: ${stderr.slice(-1_000)}`,
          { retryable: true },
        );
      return planned(run, stdout);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  };
}

/** What the command needs to read bundles of the run. */
function environmentOf(run: TrainingRun, { natsUrl }: PlannerOptions): Record<string, string> {
  const url = run.spec.nats?.url ?? natsUrl;
  const { uid } = run.metadata;
  if (!hasBundles(run) || url === undefined || uid === undefined) return {};
  return { NATS_URL: url, OARLOCK_UID: uid };
}

async function missingSource(
  run: TrainingRun,
  { configMap }: PlannerOptions,
  signal: AbortSignal,
): Promise<PlanOutcome | undefined> {
  if (hasBundles(run) && run.spec.nats?.urlSecretRef !== undefined) {
    const { name } = run.spec.nats.urlSecretRef;
    const message = `bundles are read from spec.nats.url; the address is in Secret ${name}, and the controller reads no Secrets`;
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

/** The run as its author wrote it: what the API server added is no part of a run file. */
function runFileOf({ apiVersion, kind, metadata, spec }: TrainingRun): object {
  return { apiVersion, kind, metadata: { name: metadata.name }, spec };
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

interface Execution {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
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
