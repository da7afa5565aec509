/** Reading the plan of a run from its file, as every process of the run does. Making plans is the command line's. */
import { readFile } from "node:fs/promises";
import { OarlockError } from "@oarlock/errors";
import { requireUnchanged, type ResolvedRun } from "@oarlock/runfile";

/** What a process needs of `plan.json`; the file holds more, for people. */
export interface PlanFile {
  /** Identity of the run, kept across resumes; changes no bits. */
  readonly uid: string;
  /** Folder that relative paths of the plan are relative to. */
  readonly baseDir: string;
  readonly run: ResolvedRun;
}

/** Reads a plan. @throws OarlockError `PLAN_MISSING`, `PLAN_INVALID`, `PLAN_CHANGED`. */
export async function readPlanFile(path: string): Promise<PlanFile> {
  const text = await readFile(path, "utf8").catch((cause: unknown) => {
    throw new OarlockError("PLAN_MISSING", `${path}: cannot be read; accepted: plan.json of a run folder`, {
      cause,
    });
  });
  const invalid = (cause?: unknown): OarlockError =>
    new OarlockError("PLAN_INVALID", `${path} is not a plan of this version`, { cause });
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw invalid(cause);
  }
  if (!isPlanFile(document)) throw invalid();
  requireUnchanged(document.run, path);
  return document;
}

function isPlanFile(value: unknown): value is PlanFile {
  if (typeof value !== "object" || value === null) return false;
  if (!("run" in value) || !("uid" in value) || !("baseDir" in value)) return false;
  const { run, uid, baseDir } = value;
  return (
    typeof uid === "string" &&
    typeof baseDir === "string" &&
    typeof run === "object" &&
    run !== null &&
    "kind" in run &&
    run.kind === "ResolvedRun" &&
    "spec" in run
  );
}
