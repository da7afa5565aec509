/** The rows of a run's `data` block, wherever they come from. Reading formats is data's; this picks the source. */
import { readFile } from "node:fs/promises";
import {
  chooseDataFiles,
  type Dataset,
  MAX_TABLE_BYTES,
  openFileData,
  type TablePart,
  tablesDataset,
  taskDataset,
} from "@oarlock/data";
import { OarlockError } from "@oarlock/errors";
import {
  type DataFile,
  type HubOptions,
  type LoadProgress,
  openHubDataset,
  parseHubReference,
} from "@oarlock/models";
import { type ResolvedData, type ResolvedHubData, sourcePath } from "@oarlock/runfile";

export interface OpenDataOptions {
  /** Relative paths are relative to this folder. */
  readonly baseDir: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: LoadProgress) => void;
  /** Where the hub is and what it is told. Default: what the environment says. */
  readonly hub?: HubOptions;
}

/** Opens one data block. */
export async function openData(data: ResolvedData, options: OpenDataOptions): Promise<Dataset> {
  if (data.type === "task") return taskDataset(data.task.name, data.task);
  if (data.type === "file") return openFileData({ ...data.file, path: sourcePath(data.file.path) }, options);
  return openHubData(data.hub, options);
}

/** Throws as `openHubDataset`, `HUB_TOO_LARGE`, and as `tablesDataset`. */
async function openHubData(
  data: ResolvedHubData,
  { signal, onProgress, hub }: OpenDataOptions,
): Promise<Dataset> {
  const reference = parseHubReference(data.dataset);
  const choice = {
    name: JSON.stringify([data.config, data.split]),
    choose: (paths: readonly string[], configurations: unknown) =>
      chooseDataFiles(paths, data, configurations),
  };
  const files = await openHubDataset(reference, choice, {
    ...hub,
    ...(signal && { signal }),
    ...(onProgress && { onProgress }),
  });
  return tablesDataset(reference.name.replace(/^.*\//, ""), partsOf(files, data, signal), data);
}

/** @yields the content of each file, as far as they are asked for */
async function* partsOf(
  files: readonly DataFile[],
  { dataset, split }: ResolvedHubData,
  signal: AbortSignal | undefined,
): AsyncGenerator<TablePart> {
  let bytes = 0;
  for (const file of files) {
    bytes += file.sizeBytes;
    if (bytes > MAX_TABLE_BYTES) {
      const most = `${dataset}: the split ${split} has more than the ${MAX_TABLE_BYTES} bytes that are read`;
      const advice =
        file === files[0] ? "a data set in smaller files" : "a limit whose rows the files before have";
      throw new OarlockError("HUB_TOO_LARGE", `${most}, with ${file.path}; accepted: ${advice}`);
    }
    yield { name: file.path, bytes: await readFile(await file.fetch(), { ...(signal && { signal }) }) };
  }
}
