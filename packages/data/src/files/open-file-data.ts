/** A file of rows as a data set: read, cut, mapped to rows, fingerprinted. */
import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { OarlockError } from "@oarlock/errors";
import type { Dataset, Row } from "../row.ts";
import { type ColumnNames, toRow } from "./conventions.ts";
import { formatOf, MAX_TABLE_BYTES, readTable, type TableFormat } from "./table.ts";

export interface FileDataSettings {
  /** Relative paths are relative to `baseDir`. */
  readonly path: string;
  /** Default "auto": by the name's extension. */
  readonly format?: TableFormat | "auto";
  readonly fields?: ColumnNames;
  /** Rows left out at the start. Default 0. */
  readonly skip?: number;
  /** Rows at most; 0 or absent = all. */
  readonly limit?: number;
}

export interface OpenFileOptions {
  readonly baseDir: string;
  readonly signal?: AbortSignal;
}

/** The rows of a file. Throws `DATA_FILE_ABSENT`, `DATA_FORMAT`, `DATA_FILE`, `DATA_ROW`, `DATA_EMPTY`, naming the file. */
export async function openFileData(
  settings: FileDataSettings,
  { baseDir, signal }: OpenFileOptions,
): Promise<Dataset> {
  const file = resolve(baseDir, settings.path);
  const found = await stat(file).catch(() => undefined);
  if (!found?.isFile()) {
    const what =
      found === undefined ? "no such file" : found.isDirectory() ? "is a folder" : "is no plain file";
    throw new OarlockError("DATA_FILE_ABSENT", `${settings.path}: ${what} (looked in ${baseDir})`);
  }
  if (found.size > MAX_TABLE_BYTES)
    throw new OarlockError(
      "DATA_FILE",
      `${settings.path} has ${found.size} bytes; at most ${MAX_TABLE_BYTES} are read`,
    );
  const bytes = await readFile(file, { ...(signal && { signal }) }).catch((cause: unknown) => {
    signal?.throwIfAborted();
    throw new OarlockError("DATA_FILE", `${settings.path} cannot be read`, { cause });
  });
  return tableDataset(settings.path, bytes, settings);
}

/** The rows of a file's content, wherever it came from. */
export async function tableDataset(
  name: string,
  bytes: Uint8Array,
  settings: Omit<FileDataSettings, "path">,
): Promise<Dataset> {
  const { format = "auto", fields = {}, skip = 0, limit = 0 } = settings;
  const records = await readTable(name, bytes, format === "auto" ? formatOf(name) : format);
  const wanted = records.slice(skip, limit === 0 ? undefined : skip + limit);
  if (wanted.length === 0)
    throw new OarlockError(
      "DATA_EMPTY",
      `${name} has ${records.length} rows; none is left after skip ${skip}`,
    );
  const rows = wanted.map((record) => rowIn(name, record.place, () => toRow(record, fields)));
  return {
    name: basename(name).split(".")[0] ?? name,
    rows,
    digest: digestOf(rows),
    parts: commonParts(rows),
  };
}

function rowIn(name: string, place: string, make: () => Row): Row {
  try {
    return make();
  } catch (reason) {
    // What a stack is too small for: lists within lists, many thousand levels deep.
    if (reason instanceof RangeError)
      throw new OarlockError("DATA_ROW", `${name}: ${place} is nested too deeply`, { cause: reason });
    if (!(reason instanceof OarlockError)) throw reason;
    throw new OarlockError(reason.code, `${name}: ${reason.rawMessage}`, { cause: reason });
  }
}

function digestOf(rows: readonly Row[]): string {
  const hash = createHash("sha256");
  for (const row of rows) hash.update(`${JSON.stringify(row)}\n`, "utf8");
  return hash.digest("hex");
}

/** The parts and columns that every row has. */
function commonParts(rows: readonly Row[]): string[] {
  const namesOf = ({ fields, ...parts }: Row): Set<string> =>
    new Set([...Object.keys(parts), ...Object.keys(fields)]);
  const [first, ...rest] = rows.map(namesOf);
  return first ? [...first].filter((name) => rest.every((names) => names.has(name))) : [];
}
