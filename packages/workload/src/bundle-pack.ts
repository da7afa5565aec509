/** Packs files of this machine into bundles and stores them with a run. Reading them again is `bundle-fetch.ts`. */
import { createReadStream } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { type Bus, type ObjectStore, subjects } from "@oarlock/bus";
import { OarlockError } from "@oarlock/errors";
import { canonicalJson } from "@oarlock/runfile";
import { createHasher, sha256Hex } from "@oarlock/runtime";
import { type BundleFile, type BundleManifest, MAX_FILES, parseManifest } from "./bundle-manifest.ts";

/** A file to pack: where it is, or what it holds. */
export interface BundleEntry {
  readonly path: string;
  readonly content: { readonly file: string } | { readonly bytes: Uint8Array };
}

export interface PackedBundle {
  /** SHA-256 of the manifest. */
  readonly digest: string;
  readonly manifest: string;
  readonly entries: ReadonlyMap<string, BundleEntry["content"]>;
  readonly bytes: number;
}

/**
 * A file, or a folder with what is wanted of it (default: all), by its path in there, as entries of a bundle. Links are followed; what
 * starts with a dot stays.
 */
export async function entriesOf(
  path: string,
  wanted: (inFolder: string) => boolean = () => true,
): Promise<readonly BundleEntry[]> {
  const [root, entries] = [basename(path), [] as BundleEntry[]];
  for await (const { file, inFolder } of filesOf(path, [])) {
    const within = inFolder.join("/");
    if (within !== "" && !wanted(within)) continue;
    entries.push({ path: [root, ...inFolder].join("/"), content: { file } });
    if (entries.length > MAX_FILES)
      throw new OarlockError("BUNDLE_SOURCE_INVALID", `${path} has more than ${MAX_FILES} files`);
  }
  if (entries.length > 0) return entries;
  throw new OarlockError("BUNDLE_SOURCE_INVALID", `${path} has no file of those that are read`);
}

// Files below, in the order of their names.
async function* filesOf(
  file: string,
  inFolder: readonly string[],
  above: readonly string[] = [],
): AsyncGenerator<{ readonly file: string; readonly inFolder: readonly string[] }> {
  const found = await stat(file).catch(() => undefined);
  if (found === undefined)
    throw new OarlockError("BUNDLE_SOURCE_ABSENT", `${file}: does not exist; accepted: a file or a folder`);
  if (found.isFile()) return yield { file, inFolder };
  if (!found.isDirectory())
    throw new OarlockError("BUNDLE_SOURCE_INVALID", `${file} is no plain file; accepted: a file or a folder`);
  const real = await realpath(file);
  if (above.includes(real))
    throw new OarlockError("BUNDLE_SOURCE_INVALID", `${file} leads back to ${real}, which it lies in`);
  const names = (await readdir(file)).filter((name) => !name.startsWith(".")).toSorted();
  for (const name of names) yield* filesOf(join(file, name), [...inFolder, name], [...above, real]);
}

/** Reads every entry once for its digest. */
export async function packFiles(entries: readonly BundleEntry[]): Promise<PackedBundle> {
  const files: BundleFile[] = [];
  for (const { path, content } of entries) files.push({ path, ...(await measure(content)) });
  const value: BundleManifest = { files: files.toSorted((left, right) => (left.path < right.path ? -1 : 1)) };
  const manifest = canonicalJson(value);
  parseManifest(manifest);
  return {
    digest: sha256Hex(Buffer.from(manifest)),
    manifest,
    entries: new Map(entries.map(({ path, content }) => [path, content])),
    bytes: files.reduce((sum, { bytes }) => sum + bytes, Buffer.byteLength(manifest)),
  };
}

async function measure(content: BundleEntry["content"]): Promise<Pick<BundleFile, "bytes" | "sha256">> {
  if ("bytes" in content) return { bytes: content.bytes.byteLength, sha256: sha256Hex(content.bytes) };
  await using hasher = createHasher();
  let bytes = 0;
  for await (const chunk of createReadStream(content.file)) {
    const part: Uint8Array = chunk;
    bytes += part.byteLength;
    await hasher.update(part);
  }
  return { bytes, sha256: await hasher.finish() };
}

export interface StoreOptions {
  readonly bus: Bus;
  readonly uid: string;
  readonly bundles: readonly PackedBundle[];
  readonly signal?: AbortSignal;
}

/** Room for names and for what is stored again after a failure. */
const ROOM_FACTOR = 2;
const ROOM_BYTES = 1024 * 1024;

/** Stores bundles with a run, each manifest last: a bundle that is seen is whole. What is there already is not sent again. */
export async function storeBundle({ bus, uid, bundles, signal }: StoreOptions): Promise<void> {
  const name = subjects(uid).bundleBucket;
  const maxBytes = ROOM_BYTES + ROOM_FACTOR * bundles.reduce((sum, { bytes }) => sum + bytes, 0);
  const store = (await bus.findObjects(name)) ?? (await bus.objects({ name, maxBytes }));
  for (const { digest, manifest, entries } of bundles) {
    for (const { path, sha256 } of parseManifest(manifest).files) {
      const content = entries.get(path);
      if (content === undefined) continue;
      const bytes = "bytes" in content ? content.bytes : createReadStream(content.file);
      await put(store, { digest: sha256, content: bytes, signal });
    }
    await put(store, { digest, content: Buffer.from(manifest), signal });
  }
}

async function put(
  store: ObjectStore,
  of: {
    readonly digest: string;
    readonly content: Uint8Array | AsyncIterable<Uint8Array>;
    readonly signal: AbortSignal | undefined;
  },
): Promise<void> {
  const { digest, content, signal } = of;
  if ((await store.info(digest))?.digest === digest) return;
  await store.put(digest, content, { digest, ...(signal === undefined ? {} : { signal }) });
}
