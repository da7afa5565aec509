/**
 * A run folder that outlives its disk: its files are kept in a bucket of the run, and come back where the disk went with its
 * node. What counts as kept changes by one compare-and-set of a pointer, after every file is stored: a reader finds the old
 * state or the new one, whole (T3), and of two learners that began from one state one alone goes on (F1). It does not know
 * what the files mean.
 */
import { randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { type Bus, type KeyValue, type KvEntry, type ObjectStore, subjects } from "@oarlock/bus";
import { isOarlockError, OarlockError } from "@oarlock/errors";
import { Semaphore } from "@oarlock/runtime";
import { asDiskError } from "./durable-file.ts";
import {
  corrupt,
  decodeFiles,
  decodePointer,
  encodeFiles,
  encodePointer,
  type FolderPointer,
  type KeptFile,
  MAX_FOLDER_MANIFEST_BYTES,
} from "./folder-manifest.ts";

export interface KeptFolderOptions {
  readonly bus: Bus;
  readonly uid: string;
  /** The run folder; made if absent. */
  readonly folder: string;
  /** Bound of the bucket (Q1): what is kept, and what replaces it, lie in it together for a moment. */
  readonly maxBytes: number;
}

export interface KeptFolder {
  /** Makes the folder what is kept; leaves it as it is where nothing is kept yet. */
  restore(signal?: AbortSignal): Promise<void>;
  /**
   * Keeps the folder as it is now; whoever restored the same state before cannot any more.
   *
   * @throws OarlockError `CHECKPOINT_FENCED` where somebody else has kept another state since, `BUS_STORE_FULL`.
   */
  keep(signal?: AbortSignal): Promise<void>;
}

const PIECE_BYTES = 1024 * 1024;
/** How often a writer may replace what is being fetched. */
const MAX_RACES = 16;
const TURN_TIMEOUT_MS = 600_000;

/** Opens the bucket of a run, making it if it is new. */
export async function openKeptFolder(options: KeptFolderOptions): Promise<KeptFolder> {
  const { bus, uid, maxBytes } = options;
  const { folderBucket, stateBucket, folderKey } = subjects(uid);
  const objects = await bus.objects({ name: folderBucket, maxBytes });
  const state = await bus.kv({ name: stateBucket });
  return new BucketFolder(options, { objects, state, key: folderKey });
}

/**
 * Writes what is kept of a run's folder to `folder`, which must not be there; undefined where nothing is kept. Claims nothing and
 * changes nothing: for readers.
 */
export async function fetchKeptFolder(
  { bus, uid, folder }: Omit<KeptFolderOptions, "maxBytes">,
  signal?: AbortSignal,
): Promise<"fetched" | undefined> {
  const { folderBucket, stateBucket, folderKey } = subjects(uid);
  const objects = await bus.findObjects(folderBucket);
  if (objects === undefined) return undefined;
  const state = await bus.kv({ name: stateBucket });
  if ((await state.get(folderKey)) === undefined) return undefined;
  const { maxBytes } = objects.config;
  await new BucketFolder({ bus, uid, folder, maxBytes }, { objects, state, key: folderKey }).restore(signal);
  return "fetched";
}

interface Place {
  readonly objects: ObjectStore;
  readonly state: KeyValue;
  readonly key: string;
}

/** A file as it was when it was kept: the same one, of this size and time, is not sent again. */
interface Seen {
  readonly ino: number;
  readonly mtimeMs: number;
  readonly file: KeptFile;
}

class BucketFolder implements KeptFolder {
  readonly #options: KeptFolderOptions;
  readonly #place: Place;
  readonly #turn = new Semaphore("kept folder", 1);
  /** Objects of two writers never have one name. */
  readonly #writer = randomUUID();
  #written = 0;
  /** Of the pointer that this folder follows; undefined before anything was kept. */
  #revision: number | undefined;
  #seen = new Map<string, Seen>();

  constructor(options: KeptFolderOptions, place: Place) {
    this.#options = options;
    this.#place = place;
  }

  restore(signal?: AbortSignal): Promise<void> {
    return this.#turn.run({ timeoutMs: TURN_TIMEOUT_MS, ...given(signal) }, async () => {
      for (let race = 0; race < MAX_RACES; race++) {
        const entry = await this.#pointer();
        if (entry === undefined || (await this.#fetched(entry, signal))) {
          this.#revision = entry?.revision;
          return;
        }
      }
      throw new OarlockError(
        "CHECKPOINT_CLAIM_CONTENDED",
        `the run folder was replaced ${MAX_RACES} times while it was fetched`,
      );
    });
  }

  keep(signal?: AbortSignal): Promise<void> {
    return this.#turn.run({ timeoutMs: TURN_TIMEOUT_MS, ...given(signal) }, async () => {
      const { objects } = this.#place;
      // Listed first, fenced second, deleted last: what a successor stores comes after this list.
      const listed = (await objects.list()).map(({ name }) => name);
      const object = this.#newName();
      const { files, sha256 } = await this.#store(object, signal).catch((reason: unknown) => {
        throw isOarlockError(reason, "BUS_STORE_FULL") ? this.#full(reason) : reason;
      });
      this.#revision = await this.#move(encodePointer({ object, sha256 }));
      const kept = new Set([object, ...files.map((file) => file.object)]);
      for (const name of listed.filter((each) => !kept.has(each))) await objects.delete(name);
    });
  }

  /** Whether all of it could be read: somebody who goes on meanwhile takes files away. */
  async #fetched({ value }: KvEntry, signal: AbortSignal | undefined): Promise<boolean> {
    const { folder, maxBytes } = this.#options;
    const pointer = decodePointer(value);
    try {
      const files = await this.#list(pointer, signal);
      const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
      if (bytes > maxBytes) throw corrupt(`its files have ${bytes} bytes, the bucket at most ${maxBytes}`);
      await rm(folder, { recursive: true, force: true });
      this.#seen = new Map();
      for (const file of files) await this.#fetch(file, signal);
      return true;
    } catch (reason) {
      const moved = isOarlockError(reason) && REPLACED.has(reason.code);
      if (moved && !sameBytes((await this.#pointer())?.value, value)) return false;
      throw asDiskError(reason, `fetching the run folder to ${folder}`);
    }
  }

  async #list(
    { object, sha256: digest }: FolderPointer,
    signal: AbortSignal | undefined,
  ): Promise<readonly KeptFile[]> {
    const { objects } = this.#place;
    const info = await objects.info(object);
    if (info !== undefined && info.bytes > MAX_FOLDER_MANIFEST_BYTES)
      throw corrupt(`its list of files has ${info.bytes} bytes`);
    const chunks: Uint8Array[] = [];
    for await (const chunk of objects.get(object, { ...given(signal), digest })) chunks.push(chunk);
    return decodeFiles(Buffer.concat(chunks));
  }

  async #fetch(file: KeptFile, signal: AbortSignal | undefined): Promise<void> {
    const { objects } = this.#place;
    const info = await objects.info(file.object);
    if (info !== undefined && info.bytes !== file.bytes)
      throw corrupt(`${file.path} has ${info.bytes} bytes, the list says ${file.bytes}`);
    const path = join(this.#options.folder, file.path);
    await mkdir(dirname(path), { recursive: true });
    const content = objects.get(file.object, { ...given(signal), digest: file.sha256 });
    await pipeline(content, createWriteStream(path, { flags: "wx" }));
    const { ino, mtimeMs } = await stat(path);
    this.#seen.set(file.path, { ino, mtimeMs, file });
  }

  /** Stores what is new or has changed, and the list of all files as `object`. */
  async #store(
    object: string,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly files: readonly KeptFile[]; readonly sha256: string }> {
    const { folder } = this.#options;
    const seen = new Map<string, Seen>();
    for (const path of await filesOf(folder)) {
      const { ino, size, mtimeMs } = await stat(join(folder, path));
      const before = this.#seen.get(path);
      const same = before?.ino === ino && before.file.bytes === size && before.mtimeMs === mtimeMs;
      seen.set(path, same ? before : { ino, mtimeMs, file: await this.#put(path, { size, signal }) });
    }
    const files = [...seen.values()].map(({ file }) => file);
    const { digest } = await this.#place.objects.put(object, encodeFiles(files), given(signal));
    this.#seen = seen;
    return { files, sha256: digest };
  }

  #full(cause: unknown): OarlockError {
    const { folder, maxBytes } = this.#options;
    return new OarlockError(
      "CHECKPOINT_DISK_FULL",
      `${folder} does not fit beside what was kept of it before: its bucket takes ${maxBytes} bytes`,
      { cause, retryable: true },
    );
  }

  async #put(
    path: string,
    { size, signal }: { readonly size: number; readonly signal: AbortSignal | undefined },
  ): Promise<KeptFile> {
    const object = this.#newName();
    // As long as it was when it was looked at: a journal may grow.
    const range = { end: size - 1, highWaterMark: PIECE_BYTES };
    const content = size === 0 ? new Uint8Array() : createReadStream(join(this.#options.folder, path), range);
    const { bytes, digest } = await this.#place.objects.put(object, content, given(signal));
    return { path, object, bytes, sha256: digest };
  }

  async #move(value: Uint8Array): Promise<number> {
    const { state, key } = this.#place;
    try {
      return this.#revision === undefined
        ? await state.create(key, value)
        : await state.update(key, value, this.#revision);
    } catch (reason) {
      if (!isOarlockError(reason, "BUS_REVISION_MISMATCH")) throw reason;
      const entry = await this.#pointer();
      // The answer to our own write was lost, and it was tried again.
      if (entry !== undefined && sameBytes(entry.value, value)) return entry.revision;
      throw new OarlockError("CHECKPOINT_FENCED", "another learner has kept the run folder since", {
        cause: reason,
      });
    }
  }

  async #pointer(): Promise<KvEntry | undefined> {
    const entry = await this.#place.state.get(this.#place.key);
    return entry?.deleted === true ? undefined : entry;
  }

  #newName(): string {
    return `${this.#writer}/${this.#written++}`;
  }
}

const given = (signal: AbortSignal | undefined): { readonly signal?: AbortSignal } =>
  signal === undefined ? {} : { signal };

/** What reading meets where a writer took away what the state before held. */
const REPLACED: ReadonlySet<string> = new Set(["BUS_OBJECT_MISSING", "BUS_OBJECT_CORRUPT"]);

/** Paths of the folder's files; not of drafts and of what is being deleted, whose names begin with a dot. */
async function filesOf(folder: string, below = ""): Promise<readonly string[]> {
  const entries = await readdir(join(folder, below), { withFileTypes: true });
  const visible = entries.filter(({ name }) => !name.startsWith("."));
  const found = await Promise.all(
    visible.map(async (entry) => {
      const path = below === "" ? entry.name : `${below}/${entry.name}`;
      if (entry.isDirectory()) return filesOf(folder, path);
      return entry.isFile() ? [path] : [];
    }),
  );
  return found.flat().toSorted();
}

function sameBytes(left: Uint8Array | undefined, right: Uint8Array): boolean {
  return left !== undefined && Buffer.compare(left, right) === 0;
}
