/** Fetches the bundles that a plan names into a folder, each file verified before it has its name (as W1). */
import { createWriteStream } from "node:fs";
import { mkdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { type Bus, type ObjectStore, subjects } from "@oarlock/bus";
import { OarlockError, shortDigest } from "@oarlock/errors";
import { clusterSource, type RoleName, type RunSpec, sourcesOf, sourcesReadBy } from "@oarlock/runfile";
import { type BundleFile, MAX_MANIFEST_BYTES, parseManifest } from "./bundle-manifest.ts";

export interface FetchOptions {
  readonly spec: RunSpec;
  /** Whose bundles; of everybody where nobody is named. */
  readonly role?: RoleName;
  readonly bus: Bus;
  readonly uid: string;
  /** Of the run's sources; bundles lie below it, by digest. */
  readonly folder: string;
  readonly signal?: AbortSignal;
}

/** Fetches what is not there yet. @throws OarlockError `BUNDLE_MISSING` (retryable: it may be on its way), `BUNDLE_INVALID`. */
export async function fetchBundles(options: FetchOptions): Promise<void> {
  const { spec, role, bus, uid } = options;
  const digests = bundlesOf(spec, role);
  if (digests.length === 0) return;
  const store = await bus.findObjects(subjects(uid).bundleBucket);
  if (store === undefined) throw missing(digests[0] ?? "");
  for (const digest of digests) await fetchBundle(store, digest, options);
}

/** Digests of the bundles that a spec names, and a process of the role reads, each once. */
export function bundlesOf(spec: RunSpec, role?: RoleName): readonly string[] {
  const read = role === undefined ? sourcesOf(spec) : sourcesReadBy(spec, [role]);
  const sources = read.map(({ reference }) => clusterSource(reference));
  return [...new Set(sources.flatMap((source) => (source?.scheme === "bundle" ? [source.digest] : [])))];
}

async function fetchBundle(
  store: ObjectStore,
  digest: string,
  { folder, signal }: FetchOptions,
): Promise<void> {
  const home = join(folder, "bundle", digest);
  // A folder has its name once all of it is there.
  if ((await stat(home).catch(() => undefined)) !== undefined) return;
  const { files } = parseManifest(await manifestOf(store, digest, signal));
  const part = `${home}.part`;
  await rm(part, { recursive: true, force: true });
  for (const file of files) await fetchFile(store, file, { part, signal });
  await rename(part, home);
}

async function manifestOf(
  store: ObjectStore,
  digest: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  const info = await store.info(digest);
  if (info === undefined) throw missing(digest);
  // The store checks the content against its digest, and the name is the digest that was asked for.
  if (info.digest !== digest || info.bytes > MAX_MANIFEST_BYTES)
    throw new OarlockError(
      "BUNDLE_INVALID",
      `bundle ${digest} has ${info.bytes} bytes of SHA-256 ${info.digest}`,
    );
  const chunks: Uint8Array[] = [];
  for await (const chunk of store.get(digest, signal && { signal })) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

async function fetchFile(
  store: ObjectStore,
  { path, bytes, sha256 }: BundleFile,
  { part, signal }: { readonly part: string; readonly signal: AbortSignal | undefined },
): Promise<void> {
  const info = await store.info(sha256);
  if (info === undefined) throw missing(sha256);
  if (info.digest !== sha256 || info.bytes !== bytes)
    throw new OarlockError(
      "BUNDLE_INVALID",
      `${path}: stored are ${info.bytes} bytes, the manifest says ${bytes}`,
    );
  const target = join(part, path);
  await mkdir(dirname(target), { recursive: true });
  await pipeline(store.get(sha256, signal && { signal }), createWriteStream(target));
}

function missing(digest: string): OarlockError {
  return new OarlockError(
    "BUNDLE_MISSING",
    `bundle ${shortDigest(digest)} is not in the run's object store; \`kubectl oarlock submit\` puts it there`,
    { retryable: true },
  );
}
