/** Whether a process of this machine is at work, by its id. */
import { readFile } from "node:fs/promises";
import { errnoOf } from "@oarlock/errors";

/** Another user's counts; one that is dead, and whose parent has not asked what of, does not. */
export async function isAlive(pid: number): Promise<boolean> {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch (reason) {
    return errnoOf(reason) === "EPERM";
  }
  // Such a dead one may stay for ever. Where there is no /proc, it counts as alive.
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return !/\) [ZX] /.test(stat);
}
