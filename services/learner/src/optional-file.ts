/** Files of the run folder that a run may not have. */
import { readFile } from "node:fs/promises";
import { errnoOf } from "@oarlock/errors";

/** Its text; undefined where there is none. */
export function readOptional(path: string): Promise<string | undefined> {
  return readFile(path, "utf8").catch((cause: unknown) => {
    if (errnoOf(cause) === "ENOENT") return undefined;
    throw cause;
  });
}
