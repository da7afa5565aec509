/** A file of rows as a data set: read, cut, mapped to rows, fingerprinted. */
import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { OarlockError } from "@oarlock/errors";
import type { Dataset, Row } from "../row.ts";
import { type ColumnNames, toRow } from "./conventions.ts";
import { formatOf, MAX_TABLE_BYTES, readTable, type TableFormat, type TableRecord } from "./table.ts";

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
  const { format = "auto" } = settings;
  return datasetOf(name, await readTable(name, bytes, format === "auto" ? formatOf(name) : format), settings);
}

/** One of several files of rows. */
export interface TablePart {
  /** Its extension says the format. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** The rows of several files, one after another, as one data set; no more files are asked for than have the rows that are wanted. */
export async function tablesDataset(
  name: string,
  parts: AsyncIterable<TablePart>,
  settings: Omit<FileDataSettings, "path" | "format">,
): Promise<Dataset> {
  const { skip = 0, limit = 0 } = settings;
  const records: TableRecord[] = [];
  for await (const part of parts) {
    for (const { place, values } of await readTable(part.name, part.bytes, formatOf(part.name)))
      records.push({ place: `${place} of ${part.name}`, values });
    if (limit > 0 && records.length >= skip + limit) break;
  }
  return datasetOf(name, records, settings);
}

function datasetOf(
  name: string,
  records: readonly TableRecord[],
  { fields = {}, skip = 0, limit = 0 }: Omit<FileDataSettings, "path" | "format">,
): Dataset {
  const wanted = records.slice(skip, limit === 0 ? undefined : skip + limit);
  if (wanted.length === 0)
    throw new OarlockError(
      "DATA_EMPTY",
      `${name} has ${records.length} rows; none is left after skip ${skip}`,
    );
  const rows = wanted.map((record) =>
    rowIn(name, record.place, () => checkLength(toRow(record, fields), record.place)),
  );
  const places = wanted.map(({ place }) => place);
  const placeOf = (index: number): string => `${places[index] ?? `row ${index + 1}`} of ${name}`;
  return {
    name: basename(name).split(".")[0] ?? name,
    rows,
    digest: digestOf(rows),
    ...partsOf(rows, placeOf),
    placeOf,
  };
}

/** Characters of one row's texts at most: far more than any model reads, and far less than a tokenizer is stuck with. */
const MAX_ROW_CHARACTERS = 1024 * 1024;

function checkLength(row: Row, place: string): Row {
  const { fields: _, ...parts } = row;
  const characters = lengthOf(parts);
  if (characters <= MAX_ROW_CHARACTERS) return row;
  throw new OarlockError(
    "DATA_ROW",
    `${place} has ${characters} characters of text; accepted: at most ${MAX_ROW_CHARACTERS}`,
  );
}

/** Characters of all texts in a value. */
function lengthOf(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (typeof value !== "object" || value === null) return 0;
  return Object.values(value).reduce((sum: number, inner) => sum + lengthOf(inner), 0);
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

/** What a verifier can read as an answer: of JSON, so a number is finite. */
const isReadable = (value: unknown): boolean => typeof value === "string" || typeof value === "number";

/** The parts and the columns of texts or numbers that every row has, and those that only some have. */
function partsOf(
  rows: readonly Row[],
  placeOf: (index: number) => string,
): Pick<Dataset, "parts"> & { readonly partial: Readonly<Record<string, string>> } {
  const counts = new Map<string, number>();
  const namesOf = ({ fields, ...parts }: Row): Set<string> =>
    new Set([...Object.keys(parts), ...Object.keys(fields).filter((column) => isReadable(fields[column]))]);
  for (const row of rows) for (const name of namesOf(row)) counts.set(name, (counts.get(name) ?? 0) + 1);
  const names = [...counts.keys()];
  const isWhole = (name: string): boolean => counts.get(name) === rows.length;
  const firstWithout = (name: string): string => placeOf(rows.findIndex((row) => !namesOf(row).has(name)));
  return {
    parts: names.filter(isWhole),
    partial: Object.fromEntries(
      names.filter((name) => !isWhole(name)).map((name) => [name, firstWithout(name)]),
    ),
  };
}
