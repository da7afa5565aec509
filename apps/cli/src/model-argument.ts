/** What users name when a command wants a model: a run folder (its final model), a model folder, or hf://org/name. */
import { stat } from "node:fs/promises";
import { OarlockError } from "@oarlock/errors";
import { type OpenedModel, openModel } from "@oarlock/workload";
import { runPaths } from "./run-folder.ts";

const exists = async (path: string) => (await stat(path).catch(() => undefined)) !== undefined;

/** The model that `named` stands for, as a path or hub name. */
export async function modelPath(named: string): Promise<string> {
  if (named.startsWith("hf://")) return named;
  const { plan, final } = runPaths(named);
  if (!(await exists(plan))) return named;
  if (await exists(final)) return final;
  throw new OarlockError(
    "RUN_NOT_COMPLETE",
    `${named} has no final model yet: finish the run with \`oarlock resume ${named}\``,
  );
}

/** Opens it. */
export async function openNamedModel(named: string, signal?: AbortSignal): Promise<OpenedModel> {
  const from = await modelPath(named);
  return openModel(
    { from },
    { baseDir: process.cwd(), seed: 0, ...(signal === undefined ? {} : { signal }) },
  );
}
