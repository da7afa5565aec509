/**
 * The files of a split of a data set, fetched one by one: whoever needs its first rows does not wait for all of them. What a split
 * consists of is remembered, for use offline.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { datasetInfo } from "@huggingface/hub";
import type { HubReference } from "../source.ts";
import {
  fetchFile,
  listRepository,
  notInCache,
  openRepository,
  rememberRevision,
  type Repository,
  type RepositoryOptions,
  writeWhole,
} from "./repository.ts";

/** One file of a split. */
export interface DataFile {
  /** In the repository. */
  readonly path: string;
  /** As the hub lists it. */
  readonly sizeBytes: number;
  /** Where it lies, whole and verified. Throws `HUB_OFFLINE`, `HUB_REQUEST` and `HUB_DIGEST`. */
  fetch(): Promise<string>;
}

/** Which files are wanted. */
export interface FileChoice {
  /** What it is remembered by, for use offline: the same name for the same files of a commit. */
  readonly name: string;
  /** Of the paths in the repository, in the order of their rows; `configurations` is `configs` of the card, as the hub gives it. */
  readonly choose: (paths: readonly string[], configurations: unknown) => readonly string[];
}

/** The files of a choice. Throws what it throws, `HUB_OFFLINE` and `HUB_REQUEST`. */
export async function openHubDataset(
  reference: HubReference,
  { name, choose }: FileChoice,
  options: RepositoryOptions = {},
): Promise<readonly DataFile[]> {
  const repository = await openRepository(reference, options);
  const remembered = join(repository.snapshot, memoryOf(name));
  if (repository.settings.offline) return offline(repository, remembered);
  const entries = await repository.reporting(() => listRepository(repository));
  const paths = entries.map(({ path }) => path);
  const chosen = choose(paths, await configurationsOf(repository));
  const byPath = new Map(entries.map((entry) => [entry.path, entry]));
  const files = chosen.flatMap((path) => byPath.get(path) ?? []);
  const listed = files.map(({ path, size, lfs }) => ({ path, sizeBytes: lfs?.size ?? size }));
  await mkdir(repository.snapshot, { recursive: true });
  await writeWhole(remembered, JSON.stringify(listed));
  return files.map((entry, at) => ({
    path: entry.path,
    sizeBytes: listed[at]?.sizeBytes ?? 0,
    async fetch() {
      const file = await fetchFile(repository, entry);
      await rememberRevision(repository);
      return file;
    },
  }));
}

/** What the card says of the configurations, read by the hub. */
function configurationsOf({ reference, commit, settings, ...repository }: Repository): Promise<unknown> {
  return repository.reporting(async () => {
    const { cardData } = await datasetInfo({
      name: reference.name,
      revision: commit,
      hubUrl: settings.endpoint,
      fetch: repository.fetch,
      additionalFields: ["cardData"],
      ...(settings.token === undefined ? {} : { accessToken: settings.token }),
    });
    // A card is whatever its author wrote.
    return (cardData as { readonly configs?: unknown } | undefined)?.configs;
  });
}

async function offline(
  { snapshot, what, folder }: Repository,
  remembered: string,
): Promise<readonly DataFile[]> {
  if (!existsSync(remembered)) throw notInCache(what, folder);
  const listed = JSON.parse(await readFile(remembered, "utf8")) as { path: string; sizeBytes: number }[];
  return listed.map(({ path, sizeBytes }) => ({
    path,
    sizeBytes,
    fetch() {
      const file = join(snapshot, path);
      return existsSync(file)
        ? Promise.resolve(file)
        : Promise.reject(notInCache(`${path} of ${what}`, folder));
    },
  }));
}

/** A name that no file of a repository has: that of a choice is a text of a user. */
function memoryOf(choice: string): string {
  const hash = createHash("sha256").update(choice).digest("hex");
  return `.oarlock-split-${hash.slice(0, 16)}.json`;
}
