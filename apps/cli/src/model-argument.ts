/** What users name when a command wants a model: a run folder (its final model), or any model that `loadModel` reads. */
import { stat } from "node:fs/promises";
import { OarlockError, shellWord } from "@oarlock/errors";
import { type OpenedModel, openModel, type OpenModelOptions } from "@oarlock/workload";
import { runPaths } from "./run-folder.ts";

const exists = async (path: string) => (await stat(path).catch(() => undefined)) !== undefined;

/** Whether `oarlock run` made this folder. */
export const isRunFolder = (path: string): Promise<boolean> => exists(runPaths(path).plan);

/** The folder of a run's final model. Throws `RUN_NOT_COMPLETE` where it has none yet. */
export async function finalModel(run: string): Promise<string> {
  const { final } = runPaths(run);
  if (await exists(final)) return final;
  throw new OarlockError(
    "RUN_NOT_COMPLETE",
    `${run} has no final model yet: finish the run with \`oarlock resume ${shellWord(run)}\``,
  );
}

/** The model that `named` stands for, as a path or hub name. */
async function modelPath(named: string): Promise<string> {
  if (named.startsWith("hf://")) return named;
  return (await isRunFolder(named)) ? finalModel(named) : named;
}

/** Opens it. */
export async function openNamedModel(
  named: string,
  options: Pick<OpenModelOptions, "signal" | "onProgress"> = {},
): Promise<OpenedModel> {
  const from = await modelPath(named);
  return openModel({ from }, { baseDir: process.cwd(), seed: 0, ...options });
}
