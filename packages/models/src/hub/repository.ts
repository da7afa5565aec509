/**
 * A repository of the hub at one commit, through the hub's own client: listed, and its files fetched, verified, kept by commit.
 *
 * A file appears in the cache only when it is whole and its digest is right; a cut download continues where it was cut,
 * but only of the same content. The token is sent to the endpoint and appears in no message.
 */
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, open, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, normalize } from "node:path";
import { downloadFile, type ListFileEntry, listFiles } from "@huggingface/hub";
import { OarlockError } from "@oarlock/errors";
import type { LoadProgress } from "../model.ts";
import type { HubReference } from "../source.ts";
import { type HubSettings, hubSettings } from "./config.ts";
import { resolveCommit } from "./commit.ts";
import { patientFetch, tokenToEndpoint } from "./patient-fetch.ts";
import { expectedDigest, fileDigest } from "./verify.ts";

/** Overrides of what the environment says. */
export type HubOptions = Partial<HubSettings>;

export interface RepositoryOptions extends HubOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: LoadProgress) => void;
}

/** Where a repository is kept. */
interface Place {
  readonly reference: HubReference;
  /** "hf://org/name@main", for messages. */
  readonly what: string;
  /** Of all its commits. */
  readonly folder: string;
}

/** A repository at a commit. */
export interface Repository extends Place {
  readonly settings: HubSettings;
  readonly commit: string;
  /** Its folder in the cache: files by their paths. */
  readonly snapshot: string;
  readonly fetch: typeof fetch;
  readonly options: RepositoryOptions;
  /** Runs what asks the hub; its failures are ours. */
  readonly reporting: <T>(work: () => T | PromiseLike<T>) => Promise<T>;
}

/** Finds the commit of a revision: by the hub, or offline by what was known last. Throws `HUB_OFFLINE` and `HUB_REQUEST`. */
export async function openRepository(
  reference: HubReference,
  options: RepositoryOptions,
): Promise<Repository> {
  const settings = { ...hubSettings(), ...withoutUndefined(options) };
  const folder = join(settings.cacheDir, `${reference.type}s--${reference.name.replace("/", "--")}`);
  const what = `hf://${reference.type === "dataset" ? "datasets/" : ""}${reference.name}@${reference.revision}`;
  const place = { reference, what, folder };
  const asking = tokenToEndpoint(patientFetch(options.signal), settings.endpoint);
  const commit = settings.offline
    ? await rememberedCommit(place)
    : await reporting(what, options.signal, () => resolveCommit(reference, { ...settings, fetch: asking }));
  return {
    ...place,
    settings,
    commit,
    snapshot: join(folder, commit),
    fetch: asking,
    options,
    reporting: (work) => reporting(what, options.signal, work),
  };
}

/** Leaves out undefined members, which would hide the environment's values. */
function withoutUndefined({ endpoint, token, offline, cacheDir }: HubOptions): HubOptions {
  return {
    ...(endpoint === undefined ? {} : { endpoint: endpoint.replace(/\/+$/, "") }),
    ...(token === undefined ? {} : { token }),
    ...(offline === undefined ? {} : { offline }),
    ...(cacheDir === undefined ? {} : { cacheDir }),
  };
}

/** Commits by revision, for offline use. */
const revisionFile = (folder: string, revision: string): string =>
  join(folder, "revisions", encodeURIComponent(revision));

/** What a revision means offline: the commit of which something has been fetched last. */
export async function rememberRevision({ folder, reference, commit }: Repository): Promise<void> {
  const path = revisionFile(folder, reference.revision);
  await mkdir(dirname(path), { recursive: true });
  await writeWhole(path, commit);
}

/** Writes a small file so that nobody reads half of it. */
export async function writeWhole(path: string, text: string): Promise<void> {
  const aside = `${path}.${ownMark()}`;
  await writeFile(aside, text);
  await rename(aside, path);
}

/** A part of a file's name that no other process has, nor another call of this one. */
const ownMark = (): string => `${process.pid}-${randomUUID().slice(0, 8)}`;

/** The commit that a revision was at when it was last asked for; a commit is itself. */
async function rememberedCommit({ folder, reference, what }: Place): Promise<string> {
  const remembered = revisionFile(folder, reference.revision);
  const commit = existsSync(remembered) ? (await readFile(remembered, "utf8")).trim() : reference.revision;
  if (/^[0-9a-f]{40}$/.test(commit)) return commit;
  throw notInCache(what, folder);
}

/** For what was never downloaded. */
export function notInCache(what: string, folder: string): OarlockError {
  return new OarlockError(
    "HUB_OFFLINE",
    `${what} is not in the cache (${folder}), and HF_HUB_OFFLINE forbids asking for it`,
  );
}

const MAX_FILES = 100_000;

/** Every file of the repository at its commit. */
export async function listRepository(repository: Repository): Promise<ListFileEntry[]> {
  const { reference, commit, settings, what } = repository;
  const found: ListFileEntry[] = [];
  const listing = listFiles({
    repo: { type: reference.type, name: reference.name },
    revision: commit,
    recursive: reference.type === "dataset",
    hubUrl: settings.endpoint,
    fetch: repository.fetch,
    ...(settings.token === undefined ? {} : { accessToken: settings.token }),
  });
  for await (const entry of listing) {
    if (entry.type !== "file") continue;
    const path = normalize(entry.path);
    if (path.startsWith("..") || path.startsWith("/") || path.includes("\0")) {
      throw new OarlockError(
        "HUB_REQUEST",
        `${what} lists ${JSON.stringify(entry.path)}, which leads out of it`,
      );
    }
    found.push(entry);
    if (found.length > MAX_FILES)
      throw new OarlockError(
        "HUB_REQUEST",
        `${what} has more than the ${MAX_FILES} files that are looked at`,
      );
  }
  return found;
}

/** Where a file lies once it is whole and verified. Throws `HUB_REQUEST` and `HUB_DIGEST`. */
export async function fetchFile(repository: Repository, entry: ListFileEntry): Promise<string> {
  const target = join(repository.snapshot, entry.path);
  if (!existsSync(target)) await repository.reporting(() => fetchAside(repository, entry, target));
  return target;
}

async function fetchAside(repository: Repository, entry: ListFileEntry, target: string): Promise<void> {
  await mkdir(dirname(target), { recursive: true });
  const expected = expectedDigest(entry);
  // The name holds the content's digest: a partial file is only continued with what it began with.
  const partial = `${target}.${expected?.hex.slice(0, 16) ?? "unknown"}.partial`;
  // Whoever renames it has it; another process that fetches the same begins its own.
  const own = `${partial}.${ownMark()}`;
  await rename(partial, own).catch(() => undefined);
  try {
    await appendRest(repository, entry, own);
  } catch (reason) {
    await rename(own, partial).catch(() => undefined);
    throw reason;
  }
  const { size } = await stat(own);
  const digest = expected && (await fileDigest(own, expected.algorithm, repository.options.signal));
  const expectedBytes = entry.lfs?.size ?? entry.size;
  if (size !== expectedBytes || digest !== expected?.hex) {
    await rm(own, { force: true });
    throw new OarlockError(
      "HUB_DIGEST",
      `${entry.path} of ${repository.reference.name}: ${size} bytes with digest ${digest}, the hub lists ${expectedBytes} with ${expected?.hex}`,
      { retryable: true },
    );
  }
  await rename(own, target);
}

/** Appends what a partial file lacks. */
async function appendRest(repository: Repository, entry: ListFileEntry, partial: string): Promise<void> {
  const { reference, commit, settings, options } = repository;
  const totalBytes = entry.lfs?.size ?? entry.size;
  let doneBytes = existsSync(partial) ? (await stat(partial)).size : 0;
  if (doneBytes >= totalBytes && doneBytes > 0) return;
  const blob = await downloadFile({
    repo: { type: reference.type, name: reference.name },
    path: entry.path,
    revision: commit,
    hubUrl: settings.endpoint,
    fetch: repository.fetch,
    xet: false, // plain HTTP ranges: one way to continue a cut download
    ...(settings.token === undefined ? {} : { accessToken: settings.token }),
  });
  if (blob === null) throw new OarlockError("HUB_REQUEST", `${entry.path} is listed but absent`);
  const file = await open(partial, "a");
  try {
    const rest = doneBytes === 0 ? blob : blob.slice(doneBytes, totalBytes);
    for await (const chunk of rest.stream()) {
      options.signal?.throwIfAborted();
      await file.appendFile(chunk);
      doneBytes += chunk.length;
      options.onProgress?.({ what: "download", file: entry.path, doneBytes, totalBytes });
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Turns failures of the client and of the network into ours. */
async function reporting<T>(
  what: string,
  signal: AbortSignal | undefined,
  work: () => T | PromiseLike<T>,
): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof OarlockError) throw cause;
    const status = cause instanceof Error && "statusCode" in cause ? Number(cause.statusCode) : undefined;
    const hint = status === 401 || status === 403 ? "; a private or gated repository needs HF_TOKEN" : "";
    const reason = withoutQueries(cause instanceof Error ? cause.message : String(cause));
    throw new OarlockError("HUB_REQUEST", `${what}: ${reason}${hint}`, {
      cause,
      retryable: status === undefined || status === 429 || status >= 500,
    });
  }
}

/** Addresses of stores are signed in their queries. */
const withoutQueries = (text: string): string =>
  text.replaceAll(/(https?:\/\/[^\s?#"']+)[?#][^\s"']*/g, "$1");
