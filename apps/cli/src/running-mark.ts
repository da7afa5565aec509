/**
 * One run at a time in a folder: a mark in it says which process is at work there. A process that died leaves a mark that
 * nobody answers for, which the next one takes over. Of another machine's process nothing can be known, and its mark is ignored.
 *
 * The mark is a file with a name of its own in a folder that is renamed into place with it. A folder replaces an empty one
 * alone, so of several processes one has it; and a dead mark, or one's own, is removed by its name and no other with it.
 */
import { randomUUID } from "node:crypto";
import { mkdtemp, readdir, readFile, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { errnoOf, OarlockError } from "@oarlock/errors";
import { isAlive } from "./is-alive.ts";

/** In the run folder. */
export const RUNNING_FOLDER = "running";

/** Of what a process makes beside it while it tries. */
export const CLAIM_PREFIX = ".running-";

const MAX_CLAIMS = 16;

interface Mark {
  readonly pid: number;
  readonly host: string;
}

/** Marks the folder until it is disposed of. Throws `RUN_FOLDER_BUSY` where a process of this machine is at work in it. */
export async function markRunning(folder: string): Promise<AsyncDisposable> {
  const name = `${randomUUID()}.json`;
  const place = join(folder, RUNNING_FOLDER);
  for (let attempt = 0; attempt < MAX_CLAIMS; attempt++) {
    await removeDead(folder);
    if (!(await claim(folder, name))) continue;
    return {
      async [Symbol.asyncDispose]() {
        await rm(join(place, name), { force: true });
        await rmdir(place).catch(() => undefined); // another one's by now
      },
    };
  }
  throw new OarlockError("RUN_FOLDER_BUSY", `${MAX_CLAIMS} other processes began in ${folder} meanwhile`);
}

/** What is known of the process whose mark is in the folder; undefined where there is none. */
export async function ownerOf(folder: string): Promise<"alive" | "dead" | "unknown" | undefined> {
  const place = join(folder, RUNNING_FOLDER);
  const names = await readdir(place).catch(() => []);
  const texts = await Promise.all(names.map((name) => readFile(join(place, name), "utf8").catch(() => "")));
  const mark = texts.map(readMark).find((one) => one !== undefined);
  if (mark === undefined) return undefined;
  if (mark.host !== hostname()) return "unknown";
  return (await isAtWork(mark)) ? "alive" : "dead";
}

/** Whether the folder is this process's now. */
async function claim(folder: string, name: string): Promise<boolean> {
  const mark: Mark = { pid: process.pid, host: hostname() };
  const aside = await mkdtemp(join(folder, CLAIM_PREFIX));
  try {
    await writeFile(join(aside, name), `${JSON.stringify(mark)}\n`);
    await rename(aside, join(folder, RUNNING_FOLDER));
    return true;
  } catch (reason) {
    await rm(aside, { recursive: true, force: true });
    // Without its folder: who has the run folder moved it aside with what an earlier run left.
    if (["ENOTEMPTY", "EEXIST", "ENOENT"].includes(errnoOf(reason) ?? "")) return false;
    throw reason;
  }
}

async function removeDead(folder: string): Promise<void> {
  const place = join(folder, RUNNING_FOLDER);
  for (const name of await readdir(place).catch(() => [])) {
    const path = join(place, name);
    const other = readMark(await readFile(path, "utf8").catch(() => ""));
    if (other !== undefined && (await staysAlive(other))) {
      throw new OarlockError(
        "RUN_FOLDER_BUSY",
        `process ${other.pid} is running in ${folder}; accepted: another --out, or wait for its end ` +
          `(where process ${other.pid} is no oarlock: remove ${place})`,
      );
    }
    await rm(path, { force: true });
  }
}

function readMark(text: string): Mark | undefined {
  try {
    const { pid, host } = JSON.parse(text) as Partial<Mark>; // whatever it is: both are checked
    return Number.isSafeInteger(pid) && typeof host === "string" ? { pid: pid ?? 0, host } : undefined;
  } catch {
    return undefined;
  }
}

/** A process that was just killed is there for a moment longer. */
const MOMENT_MS = 3_000;
const LOOK_MS = 50;

async function staysAlive(mark: Mark): Promise<boolean> {
  for (let waitedMs = 0; await isAtWork(mark); waitedMs += LOOK_MS) {
    if (waitedMs >= MOMENT_MS) return true;
    await sleep(LOOK_MS);
  }
  return false;
}

async function isAtWork({ pid, host }: Mark): Promise<boolean> {
  return host === hostname() && pid !== process.pid && isAlive(pid);
}
