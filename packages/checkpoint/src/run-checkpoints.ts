/**
 * Run checkpoints on disk: `<folder>/<incarnation>/<step>/manifest.json`. A checkpoint is written aside and renamed into
 * place, so that it is there whole or not at all (T3); each learner writes under its own incarnation, claimed by an atomic
 * rename, and what it continues from is recorded with the claim (F1).
 */
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { causeChain, errnoOf, isOarlockError, OarlockError } from "@oarlock/errors";
import { bytesOf, reachMoment, Semaphore } from "@oarlock/runtime";
import {
  arrayFile,
  arrayFrom,
  decodeManifest,
  encodeManifest,
  kindOf,
  MANIFEST_FILE,
  STATE_FILE,
  type ArrayFile,
} from "./checkpoint-manifest.ts";
import {
  asDiskError,
  makeFolder,
  readVerified,
  requireSpace,
  sizeOf,
  syncFolder,
  writeDurably,
} from "./durable-file.ts";
import { type CheckpointPlace, comparePlaces, type IncarnationRecord, survivingLineage } from "./lineage.ts";
import type {
  CheckpointArray,
  CheckpointContent,
  CheckpointInfo,
  DeferredArray,
  LoadedCheckpoint,
  RunCheckpoints,
  RunCheckpointsOptions,
} from "./types.ts";

const BASE_FILE = "base.json";
const MAX_MANIFEST_BYTES = 16 * 1024 * 1024;
const MAX_CLAIMS = 16;
const TURN_TIMEOUT_MS = 600_000;

/**
 * Chooses the newest valid checkpoint, skipping damaged ones, and claims the next incarnation.
 *
 * @throws OarlockError `CHECKPOINT_NONE_VALID` when there are checkpoints and all are damaged: a run never starts anew by
 * accident.
 */
export async function openRunCheckpoints(options: RunCheckpointsOptions): Promise<RunCheckpoints> {
  const { folder, keep, resume = true } = options;
  if (!Number.isSafeInteger(keep) || keep < 1) {
    throw new OarlockError("CHECKPOINT_KEEP_INVALID", `keep ${keep}; accepted: a whole number from 1 on`);
  }
  await makeFolder(folder);
  for (let attempt = 0; attempt < MAX_CLAIMS; attempt++) {
    const records = await readRecords(folder);
    const resumed = resume ? await newestValid(folder, records, options) : undefined;
    const incarnation = Math.max(0, ...records.map((record) => record.incarnation)) + 1;
    const claimed = await claim(folder, incarnation, resumed?.place ?? null);
    if (claimed) await removeLeftovers(folder, incarnation);
    if (claimed) return new DiskCheckpoints(options, incarnation, resumed?.checkpoint);
  }
  throw new OarlockError(
    "CHECKPOINT_CLAIM_CONTENDED",
    `${folder}: ${MAX_CLAIMS} incarnations were claimed by others meanwhile`,
  );
}

/** The newest valid checkpoint without claiming anything: for readers (status, export, reproduce). */
export async function readNewestCheckpoint(
  options: Pick<RunCheckpointsOptions, "folder" | "onSkipped" | "signal">,
): Promise<LoadedCheckpoint | undefined> {
  if (!existsSync(options.folder)) return undefined;
  return (await newestValid(options.folder, await readRecords(options.folder), options))?.checkpoint;
}

/** Complete checkpoints of the surviving lineage, newest first, not verified; claims nothing. None where there is no folder. */
export async function listCheckpoints(
  folder: string,
): Promise<readonly Pick<CheckpointInfo, "incarnation" | "step" | "path">[]> {
  if (!existsSync(folder)) return [];
  return survivingLineage(await readRecords(folder)).map((place) => ({
    incarnation: place.incarnation,
    step: place.step,
    path: join(folder, placePath(place)),
  }));
}

class DiskCheckpoints implements RunCheckpoints {
  readonly incarnation: number;
  readonly resumed: LoadedCheckpoint | undefined;
  readonly #folder: string;
  readonly #keep: number;
  readonly #turn = new Semaphore("run checkpoints", 1);

  constructor(options: RunCheckpointsOptions, incarnation: number, resumed: LoadedCheckpoint | undefined) {
    this.#folder = options.folder;
    this.#keep = options.keep;
    this.incarnation = incarnation;
    this.resumed = resumed;
  }

  write(content: CheckpointContent, signal?: AbortSignal): Promise<CheckpointInfo> {
    const wait = { timeoutMs: TURN_TIMEOUT_MS, ...(signal === undefined ? {} : { signal }) };
    return this.#turn.run(wait, async () => {
      const records = await this.#unfencedRecords();
      const own = records.find((record) => record.incarnation === this.incarnation)?.places ?? [];
      const revision =
        1 + Math.max(-1, ...own.filter(({ step }) => step === content.step).map((place) => place.revision));
      const place = { incarnation: this.incarnation, step: content.step, revision };
      const info = await this.#writeAside(place, content, signal);
      await this.#prune();
      return info;
    });
  }

  list(): Promise<readonly Pick<CheckpointInfo, "incarnation" | "step" | "path">[]> {
    return listCheckpoints(this.#folder);
  }

  async #writeAside(
    place: CheckpointPlace,
    content: CheckpointContent,
    signal?: AbortSignal,
  ): Promise<CheckpointInfo> {
    const own = join(this.#folder, incarnationName(place.incarnation));
    const state = stateBytes(content.state);
    const arrays = Object.entries(content.arrays);
    for (const [name] of arrays) arrayFile(name);
    await requireSpace(
      this.#folder,
      arrays.reduce((sum, [, array]) => sum + array.byteLength, state.byteLength),
    );
    const aside = await mkdtemp(join(own, ".writing-")).catch((reason: unknown) => {
      throw asDiskError(reason, `making a folder in ${own}`);
    });
    try {
      const digest = await writeAll(aside, place, { state, arrays, signal });
      reachMoment("checkpoint-written");
      // The last look before it becomes visible. A successor that claims after it never counts what lies above its base.
      await this.#unfencedRecords();
      const path = join(this.#folder, placePath(place));
      await rename(aside, path);
      await syncFolder(own);
      return { incarnation: place.incarnation, step: place.step, path, digest };
    } catch (reason) {
      await rm(aside, { recursive: true, force: true });
      // A successor removes what we were writing: then the fence is the reason, whatever the disk said.
      await this.#unfencedRecords();
      throw asDiskError(reason, `writing a checkpoint in ${own}`);
    }
  }

  /** Retention. Listed first, fenced second, deleted last: a successor's base is among the newest of what was listed. */
  async #prune(): Promise<void> {
    const lineage = survivingLineage(await readRecords(this.#folder));
    await this.#unfencedRecords();
    for (const place of lineage.slice(this.#keep)) {
      const path = join(this.#folder, placePath(place));
      const doomed = join(
        this.#folder,
        incarnationName(place.incarnation),
        `.deleting-${place.step}-${place.revision}`,
      );
      await rename(path, doomed);
      await rm(doomed, { recursive: true, force: true });
    }
  }

  async #unfencedRecords(): Promise<IncarnationRecord[]> {
    const records = await readRecords(this.#folder);
    const newest = Math.max(...records.map((record) => record.incarnation));
    if (newest <= this.incarnation) return records;
    throw new OarlockError(
      "CHECKPOINT_FENCED",
      `incarnation ${this.incarnation} was superseded by ${newest}`,
    );
  }
}

interface Parts {
  readonly state: Uint8Array;
  readonly arrays: readonly (readonly [string, CheckpointArray | DeferredArray])[];
  readonly signal: AbortSignal | undefined;
}

/** Every file, the manifest last; gives the manifest's digest. */
async function writeAll(
  folder: string,
  place: CheckpointPlace,
  { state, arrays, signal }: Parts,
): Promise<string> {
  const files: ArrayFile[] = [];
  for (const [name, given] of arrays) {
    const array = "read" in given ? await given.read() : given;
    const facts = await writeDurably(join(folder, arrayFile(name)), bytesOf(array), signal);
    files.push({ name, kind: kindOf(array), ...facts });
  }
  const stateFacts = await writeDurably(join(folder, STATE_FILE), state, signal);
  const { text, digest } = encodeManifest({ ...place, state: stateFacts, arrays: files });
  await writeDurably(join(folder, MANIFEST_FILE), Buffer.from(text), signal);
  await syncFolder(folder);
  return digest;
}

function stateBytes(state: unknown): Uint8Array {
  const text = JSON.stringify(state) as string | undefined; // undefined for what JSON has no form of
  if (text === undefined) throw new OarlockError("CHECKPOINT_STATE_INVALID", "the state has no JSON form");
  return Buffer.from(text);
}

/** Reads a checkpoint back, verifying every file. @throws OarlockError `CHECKPOINT_CORRUPT`. */
export async function readCheckpoint(path: string, signal?: AbortSignal): Promise<LoadedCheckpoint> {
  const manifestPath = join(path, MANIFEST_FILE);
  const size = await sizeOf(manifestPath);
  if (size === undefined || size > MAX_MANIFEST_BYTES) {
    throw new OarlockError(
      "CHECKPOINT_CORRUPT",
      `${manifestPath}: ${size === undefined ? "missing" : `${size} bytes`}`,
    );
  }
  const { manifest, digest } = decodeManifest(await readFile(manifestPath, "utf8"), manifestPath);
  const arrays: Record<string, CheckpointArray> = {};
  for (const { name, kind, ...facts } of manifest.arrays) {
    arrays[name] = arrayFrom(kind, await readVerified(join(path, arrayFile(name)), facts, signal));
  }
  const text = await readVerified(join(path, STATE_FILE), manifest.state, signal);
  const state: unknown = JSON.parse(Buffer.from(text.buffer).toString("utf8"));
  return { incarnation: manifest.incarnation, step: manifest.step, path, digest, state, arrays };
}

async function newestValid(
  folder: string,
  records: readonly IncarnationRecord[],
  { onSkipped, signal }: Pick<RunCheckpointsOptions, "onSkipped" | "signal">,
): Promise<{ place: CheckpointPlace; checkpoint: LoadedCheckpoint } | undefined> {
  const lineage = survivingLineage(records);
  const reasons: string[] = [];
  for (const place of lineage) {
    const path = join(folder, placePath(place));
    try {
      const checkpoint = await readCheckpoint(path, signal);
      if (checkpoint.incarnation === place.incarnation && checkpoint.step === place.step)
        return { place, checkpoint };
      throw new OarlockError(
        "CHECKPOINT_CORRUPT",
        `${path} holds step ${checkpoint.step} of incarnation ${checkpoint.incarnation}`,
      );
    } catch (reason) {
      if (!isOarlockError(reason, "CHECKPOINT_CORRUPT")) throw reason;
      const why = causeChain(reason).join(": ");
      reasons.push(why);
      onSkipped?.(path, why);
    }
  }
  if (lineage.length === 0) return undefined;
  throw new OarlockError(
    "CHECKPOINT_NONE_VALID",
    `${folder}: no checkpoint can be read: ${reasons.join("; ")}`,
  );
}

/** Takes the next incarnation for this process alone: the rename fails if another one has it. */
async function claim(folder: string, incarnation: number, base: CheckpointPlace | null): Promise<boolean> {
  const aside = await mkdtemp(join(folder, `.claiming-${incarnation}-`));
  try {
    await writeDurably(join(aside, BASE_FILE), Buffer.from(`${JSON.stringify({ base })}\n`));
    await syncFolder(aside);
    await rename(aside, join(folder, incarnationName(incarnation)));
    await syncFolder(folder);
    return true;
  } catch (reason) {
    await rm(aside, { recursive: true, force: true });
    const errno = errnoOf(isOarlockError(reason) ? reason.cause : reason) ?? "";
    // Who took it may have removed what we were to claim it with.
    if (["ENOTEMPTY", "EEXIST", "ENOENT"].includes(errno)) return false;
    throw asDiskError(reason, `claiming incarnation ${incarnation} in ${folder}`);
  }
}

/**
 * What older incarnations were writing or deleting when they ended: they are superseded, and it was never visible. And claims
 * to incarnations that are taken: whoever makes one, dead or alive, cannot succeed.
 */
async function removeLeftovers(folder: string, incarnation: number): Promise<void> {
  const names = await readdir(folder);
  const claims = names.filter(
    (name) => Number(/^\.claiming-(\d+)-/.exec(name)?.[1] ?? Infinity) <= incarnation,
  );
  // One that is written at this moment is its writer's to remove.
  for (const name of claims)
    await rm(join(folder, name), { recursive: true, force: true }).catch(() => undefined);
  const older = names.filter((name) => /^\d{6,}$/.test(name) && Number(name) < incarnation);
  for (const name of older) {
    const entries = await readdir(join(folder, name));
    const leftovers = entries.filter(
      (entry) => entry.startsWith(".writing-") || entry.startsWith(".deleting-"),
    );
    for (const entry of leftovers) await rm(join(folder, name, entry), { recursive: true, force: true });
  }
}

async function readRecords(folder: string): Promise<IncarnationRecord[]> {
  const names = (await readdir(folder)).filter((name) => /^\d{6,}$/.test(name));
  return Promise.all(
    names.map(async (name) => {
      const incarnation = Number(name);
      const places = (await readdir(join(folder, name)))
        .map((entry) => parsePlace(incarnation, entry))
        .filter((place) => place !== undefined);
      return {
        incarnation,
        base: await readBase(join(folder, name, BASE_FILE)),
        places: places.sort(comparePlaces),
      };
    }),
  );
}

async function readBase(path: string): Promise<CheckpointPlace | null> {
  if ((await sizeOf(path)) === undefined)
    throw new OarlockError("CHECKPOINT_BASE_MISSING", `${path} is gone`);
  const { base } = JSON.parse(await readFile(path, "utf8")) as { base: CheckpointPlace | null }; // written by `claim`
  return base;
}

function incarnationName(incarnation: number): string {
  return String(incarnation).padStart(6, "0");
}

function placePath({ incarnation, step, revision }: CheckpointPlace): string {
  const suffix = revision === 0 ? "" : `.${revision}`;
  return join(incarnationName(incarnation), `${String(step).padStart(8, "0")}${suffix}`);
}

function parsePlace(incarnation: number, entry: string): CheckpointPlace | undefined {
  const match = /^(\d{8,})(?:\.(\d+))?$/.exec(entry);
  return match === null
    ? undefined
    : { incarnation, step: Number(match[1]), revision: Number(match[2] ?? 0) };
}
