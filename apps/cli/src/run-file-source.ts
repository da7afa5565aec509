/** Brings a run file from disk, with its size checked before it is read. Parsing and rules are runfile's. */
import { readFile, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { errnoOf, OarlockError } from "@oarlock/errors";
import { readRunFile, type ReadRunFile, runFileError } from "@oarlock/runfile";

/** Largest run file; the parser has the same limit, and this one spares reading a huge file. */
const MAX_BYTES = 1024 * 1024;

export interface RunFileSource {
  readonly file: ReadRunFile;
  /** The text as read, kept with the run. */
  readonly text: string;
  /** Absolute path. */
  readonly path: string;
  /** Relative paths of the run file are relative to this folder. */
  readonly baseDir: string;
  readonly set: readonly string[];
}

/** Reads and checks a run file; all problems in one `RUN_FILE_INVALID`. */
export async function loadRunFile(path: string, set: readonly string[]): Promise<RunFileSource> {
  const text = await readText(path);
  const read = readRunFile(text, { file: path, set });
  if (!read.ok) throw runFileError(read.problems);
  const absolute = resolve(path);
  return { file: read.file, text, path: absolute, baseDir: dirname(absolute), set };
}

async function readText(path: string): Promise<string> {
  const info = await stat(path).catch((cause: unknown) => {
    // That it is not there says all; other reasons are the system's to tell.
    const absent = errnoOf(cause) === "ENOENT";
    throw new OarlockError(
      "RUN_FILE_MISSING",
      `${path}: ${absent ? "does not exist" : "cannot be read"}; expected a run file (YAML or JSON)`,
      absent ? {} : { cause },
    );
  });
  if (info.isDirectory())
    throw new OarlockError("RUN_FILE_MISSING", `${path}: is a folder; expected a run file (YAML or JSON)`);
  if (info.size > MAX_BYTES)
    throw new OarlockError(
      "RUN_FILE_INVALID",
      `${path}: the file is too large: ${info.size} bytes (accepted: at most ${MAX_BYTES} bytes)`,
    );
  const bytes = await readFile(path);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new OarlockError(
      "RUN_FILE_INVALID",
      `${path}: is not text in UTF-8 (accepted: a YAML or JSON file)`,
      { cause },
    );
  }
}
