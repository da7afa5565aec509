/** Files of the run folder that a run may not have. */
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { errnoOf } from "@oarlock/errors";
import { type SampleRecord, samplesIn } from "@oarlock/report";

/** Its text; undefined where there is none. */
export function readOptional(path: string): Promise<string | undefined> {
  return readFile(path, "utf8").catch((cause: unknown) => {
    if (errnoOf(cause) === "ENOENT") return undefined;
    throw cause;
  });
}

/**
 * The samples of a file of any length; none where there is no file.
 *
 * @yields each sample
 */
export async function* readSamples(path: string): AsyncGenerator<SampleRecord> {
  try {
    yield* samplesIn(createReadStream(path, "utf8"));
  } catch (cause) {
    if (errnoOf(cause) !== "ENOENT") throw cause;
  }
}
