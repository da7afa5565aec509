/** The files of a model's repository as a folder, complete or not there. */
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { OarlockError } from "@oarlock/errors";
import type { HubReference } from "../source.ts";
import {
  fetchFile,
  listRepository,
  notInCache,
  openRepository,
  rememberRevision,
  type RepositoryOptions,
  writeWhole,
} from "./repository.ts";

export interface SnapshotOptions extends RepositoryOptions {
  /** Which files are wanted, by path in the repository. */
  readonly wanted: (path: string) => boolean;
}

const COMPLETE = ".oarlock-complete.json";

/**
 * The folder that holds the wanted files of a repository at a revision. Offline, what an earlier download left is used.
 * Throws `HUB_OFFLINE`, `HUB_REQUEST` (retryable where the fault may pass) and `HUB_DIGEST`.
 */
export async function downloadSnapshot(reference: HubReference, options: SnapshotOptions): Promise<string> {
  const repository = await openRepository(reference, options);
  const { snapshot, settings, what, folder, commit } = repository;
  const complete = join(snapshot, COMPLETE);
  if (existsSync(complete)) {
    if (!settings.offline) await rememberRevision(repository);
    return snapshot;
  }
  if (settings.offline) throw notInCache(what, folder);
  return repository.reporting(async () => {
    const wanted = (await listRepository(repository)).filter(({ path }) => options.wanted(path));
    if (wanted.length === 0)
      throw new OarlockError("HUB_REQUEST", `${what} holds no file that can be read here`);
    await mkdir(snapshot, { recursive: true });
    for (const entry of wanted) await fetchFile(repository, entry);
    await writeWhole(complete, JSON.stringify({ name: reference.name, commit }));
    await rememberRevision(repository);
    return snapshot;
  });
}
