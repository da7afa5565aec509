/**
 * One run at a time in a folder: a mark in it says which process is at work there. A process that died leaves a mark that
 * nobody answers for, which the next one takes over. Of another machine's process nothing can be known, and its mark is ignored.
 */
import { readFile, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { errnoOf, OarlockError } from "@oarlock/errors";
import { isAlive } from "./is-alive.ts";

/** In the run folder. */
export const RUNNING_FILE = "running.json";

interface Mark {
  readonly pid: number;
  readonly host: string;
}

/** Marks the folder until it is disposed of. Throws `RUN_FOLDER_BUSY` where a process of this machine is at work in it. */
export async function markRunning(folder: string): Promise<AsyncDisposable> {
  const path = join(folder, RUNNING_FILE);
  const mark: Mark = { pid: process.pid, host: hostname() };
  const write = (flag: string): Promise<void> => writeFile(path, `${JSON.stringify(mark)}\n`, { flag });
  await write("wx").catch(async (reason: unknown) => {
    if (errnoOf(reason) !== "EEXIST") throw reason;
    const other = readMark(await readFile(path, "utf8").catch(() => ""));
    if (other !== undefined && (await staysAlive(other))) {
      throw new OarlockError(
        "RUN_FOLDER_BUSY",
        `process ${other.pid} is running in ${folder}; accepted: another --out, or wait for its end ` +
          `(where process ${other.pid} is no oarlock: remove ${path})`,
      );
    }
    await write("w");
  });
  return { [Symbol.asyncDispose]: () => rm(path, { force: true }) };
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
