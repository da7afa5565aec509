/**
 * Where the programs of real servers come from: folders of the PATH, else an archive beside the repository, unpacked once
 * into a cache folder of the machine. Knows none of the programs.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { basename, delimiter, join } from "node:path";
import { searchPath } from "./config.ts";
import { repositoryRoot } from "./require-file.ts";

/** Folders of the PATH. */
export function programFolders(): string[] {
  return searchPath()
    .split(delimiter)
    .filter((folder) => folder !== "");
}

/** The first of `folders` that has the program. */
export function findProgram(name: string, folders: readonly string[] = programFolders()): string | undefined {
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

/** Cache of this user's tests on this machine. */
export function programCache(): string {
  const cache = join(tmpdir(), `oarlock-programs-${userInfo().uid}`);
  mkdirSync(cache, { recursive: true, mode: 0o700 });
  return cache;
}

export interface WantedArchive {
  /** Relative to the repository. */
  readonly folder: string;
  /** Of the archive's name, a `.tar.xz`. */
  readonly pattern: RegExp;
}

/** The folder with what the archive holds; undefined where there is no archive for this machine. */
export function unpackedArchive({ folder, pattern }: WantedArchive): string | undefined {
  if (process.platform !== "linux" || process.arch !== "x64") return undefined;
  const archives = join(repositoryRoot(), folder);
  const name = existsSync(archives) ? readdirSync(archives).find((each) => pattern.test(each)) : undefined;
  if (name === undefined) return undefined;
  const archive = join(archives, name);
  const target = `${basename(name, ".tar.xz")}-${statSync(archive).size}`;
  return keptInCache(target, (aside) => void execFileSync("tar", ["xJf", archive, "-C", aside]));
}

/** A folder of the cache, filled aside and renamed whole: other processes see all of it or nothing. */
export function keptInCache(name: string, fill: (aside: string) => void): string {
  const target = join(programCache(), name);
  if (existsSync(target)) return target;
  const aside = mkdtempSync(join(programCache(), ".unpacking-"));
  try {
    fill(aside);
    renameSync(aside, target);
  } catch (reason) {
    rmSync(aside, { recursive: true, force: true });
    // Another process was first: its folder is whole, since it was renamed too.
    if (!existsSync(target)) throw reason;
  }
  return target;
}
