/** Packs files of this machine into bundles and stores them with a run. Reading them again is `bundle-fetch.ts`. */
import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { type Bus, type ObjectStore, subjects } from "@oarlock/bus";
import { OarlockError } from "@oarlock/errors";
import { canonicalJson } from "@oarlock/runfile";
import { createHasher, sha256Hex } from "@oarlock/runtime";
import { type BundleFile, type BundleManifest, parseManifest } from "./bundle-manifest.ts";

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

/** A file, or a folder with all that is in it, as entries of a bundle. Links are followed; what starts with a dot stays. */
export async function entriesOf(path: string): Promise<readonly BundleEntry[]> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined)
    throw new OarlockError("BUNDLE_SOURCE_ABSENT", `${path}: does not exist; accepted: a file or a folder`);
  return below(path, basename(path));
}

async function below(file: string, path: string): Promise<readonly BundleEntry[]> {
  if (!(await stat(file)).isDirectory()) return [{ path, content: { file } }];
  const names = (await readdir(file)).filter((name) => !name.startsWith(".")).toSorted();
  return (await Promise.all(names.map((name) => below(join(file, name), `${path}/${name}`)))).flat();
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
