/** Small files of a model folder, as text: their size is looked at before they are read. */
import { existsSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { OarlockError } from "@oarlock/errors";

const MAX_TEXT_BYTES = 256 * 1024 * 1024;

/** `undefined` where there is none. Throws `MODEL_FILE` for what is too large. */
export async function readText(path: string): Promise<string | undefined> {
  if (!existsSync(path)) return undefined;
  const { size } = await stat(path);
  if (size > MAX_TEXT_BYTES) {
    throw new OarlockError("MODEL_FILE", `${path} has ${size} bytes; at most ${MAX_TEXT_BYTES} are read`);
  }
  return readFile(path, "utf8");
}
