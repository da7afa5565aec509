/**
 * Resolves the plan of a run with the command line, in a process of its own: engine and models never load on the
 * controller's event loop (P1), and a plan on a cluster is the plan on a laptop.
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OarlockError } from "@oarlock/errors";
import { type ResolvedRun, rolloutWindow } from "@oarlock/runfile";
import type { TrainingRun } from "./api.ts";
import type { PlanOutcome } from "./observed.ts";

/** Resolves the plan of a run; refusals are outcomes, and what may pass is thrown. */
export type Planner = (run: TrainingRun, signal: AbortSignal) => Promise<PlanOutcome>;

/** Exit code of the command line for a file, model or data that cannot be used. */
const REFUSED = 3;
const MAX_PLAN_BYTES = 16 * 1024 * 1024;

/** A planner that runs a command such as `["oarlock"]`. */
export function createPlanner(command: readonly string[]): Planner {
  return async (run, signal) => {
    const folder = await mkdtemp(join(tmpdir(), "oarlock-plan-"));
    try {
      const file = join(folder, "run.json");
      await writeFile(file, JSON.stringify(runFileOf(run)));
      const { code, stdout, stderr } = await execute([...command, "plan", "--json", file], signal);
      if (code === REFUSED) return { type: "refused", message: withoutFolder(stderr, folder) };
      if (code !== 0)
        throw new OarlockError(
          "PLAN_FAILED",
          `the planner ended with code ${code}: ${stderr.slice(-1_000)}`,
          {
            retryable: true,
          },
        );
      return planned(run, stdout);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  };
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

function execute([file = "", ...args]: readonly string[], signal: AbortSignal): Promise<Execution> {
  return new Promise((resolve, reject) => {
    execFile(file, args, { signal, maxBuffer: MAX_PLAN_BYTES }, (error, stdout, stderr) => {
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
