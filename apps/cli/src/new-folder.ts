/**
 * Whether a folder that a user named can be made, tried before anything is read or computed. Trying is the only sure way:
 * permissions say nothing of a kernel's own file systems, where Node's recursive `mkdir` never returns.
 */
import { mkdtemp, rmdir, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { errnoOf, OarlockError } from "@oarlock/errors";

/**
 * Makes a folder where `folder` will be, and removes it. `named` is what the user wrote it as, e.g. `--out`.
 *
 * @throws OarlockError `FOLDER_IMPOSSIBLE`, which names the option, the value, and why.
 */
export async function requireMakeable(folder: string, named: string): Promise<void> {
  // Every path function reads "" as the working folder, which would be replaced.
  if (folder === "") {
    throw new OarlockError(
      "FOLDER_IMPOSSIBLE",
      `${named} is "", as a variable that is not set leaves it; accepted: the path of a folder`,
    );
  }
  const place = await nearestExisting(resolve(folder));
  try {
    await rmdir(await mkdtemp(join(place, ".oarlock-")));
  } catch (cause) {
    const errno = errnoOf(cause) ?? "";
    const why = WHY[errno] ?? `takes no new folder (${errno === "" ? String(cause) : errno})`;
    throw new OarlockError(
      "FOLDER_IMPOSSIBLE",
      `${named} ${folder} cannot be made: ${place} ${why}; accepted: a folder in one that can be written to`,
      { cause },
    );
  }
}

const WHY: Readonly<Record<string, string>> = {
  ENOTDIR: "is a file",
  EACCES: "may not be written to",
  EPERM: "may not be written to",
  EROFS: "is on a read-only file system",
  ENOSPC: "is on a full disk",
};

/** `path`, or the nearest of its parents that is there. */
async function nearestExisting(path: string): Promise<string> {
  const found = await stat(path).catch(() => undefined);
  const parent = dirname(path);
  return found !== undefined || parent === path ? path : nearestExisting(parent);
}
