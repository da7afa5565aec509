/** The rows of a run's `data` block, wherever they come from. Reading formats is data's; this picks the source. */
import { type Dataset, openFileData, taskDataset } from "@oarlock/data";
import { OarlockError } from "@oarlock/errors";
import { type ResolvedData, sourcePath } from "@oarlock/runfile";

export interface OpenDataOptions {
  /** Relative paths are relative to this folder. */
  readonly baseDir: string;
  readonly signal?: AbortSignal;
}

/** Opens one data block. */
export async function openData(data: ResolvedData, options: OpenDataOptions): Promise<Dataset> {
  if (data.type === "task") return taskDataset(data.task.name, data.task);
  if (data.type === "file") return openFileData({ ...data.file, path: sourcePath(data.file.path) }, options);
  throw new OarlockError("DATA_UNSUPPORTED", `data of type ${data.type} is not wired up yet`);
}
