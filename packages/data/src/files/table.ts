/** Files of rows as plain records: JSON Lines, JSON, CSV, Parquet, each also gzipped. It does not know what columns mean. */
import { OarlockError, plainMessage } from "@oarlock/errors";
import { parse as parseCsv } from "csv-parse/sync";
import { isUtf8 } from "node:buffer";
import { gunzipSync } from "node:zlib";
import { isJsonObject } from "../json-object.ts";
import { readParquet } from "./parquet.ts";

export type TableFormat = "jsonl" | "json" | "csv" | "parquet";

/** A record and where it stands in its file, for error messages: "line 17", "row 3". */
export interface TableRecord {
  readonly place: string;
  readonly values: Readonly<Record<string, unknown>>;
}

/** Bytes of a file at most, also after decompression. */
export const MAX_TABLE_BYTES: number = 1024 ** 3;

const extensions: Readonly<Record<string, TableFormat>> = {
  ".jsonl": "jsonl",
  ".ndjson": "jsonl",
  ".json": "json",
  ".csv": "csv",
  ".tsv": "csv",
  ".parquet": "parquet",
};

export const EXTENSIONS: readonly string[] = Object.keys(extensions);

/** The extension of a format that is read, gzip aside; undefined where a name has none. */
export function extensionOf(name: string): string | undefined {
  const bare = name.toLowerCase().replace(/\.gz$/, "");
  return EXTENSIONS.find((extension) => bare.endsWith(extension));
}

/** The format that a file's name says. Throws `DATA_FORMAT`. */
export function formatOf(name: string): TableFormat {
  const found = extensions[extensionOf(name) ?? ""];
  if (found !== undefined) return found;
  throw new OarlockError(
    "DATA_FORMAT",
    `${name}: the name says no format; accepted: ${EXTENSIONS.join(", ")}, each also .gz, or set format`,
  );
}

/** The one that the header has most of outside quotes: spreadsheets write semicolons where the comma is the decimal sign. */
function delimiterOf(content: string): string {
  const [line = ""] = /^[^\n]*/.exec(content) ?? [];
  const header = line.replaceAll(/"[^"]*"/g, "");
  const countOf = (delimiter: string): number => header.split(delimiter).length;
  return [",", ";", "\t"].reduce((most, one) => (countOf(one) > countOf(most) ? one : most));
}

/** The records of a file's bytes. Throws `DATA_FILE`, naming file and place. */
export async function readTable(
  name: string,
  bytes: Uint8Array,
  format: TableFormat,
): Promise<TableRecord[]> {
  const content = inflated(name, bytes);
  try {
    return await readers[format](content);
  } catch (reason) {
    throw new OarlockError("DATA_FILE", `${name}: ${plainMessage(reason)}`, { cause: reason });
  }
}

function inflated(name: string, bytes: Uint8Array): Uint8Array {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  try {
    return gunzipSync(bytes, { maxOutputLength: MAX_TABLE_BYTES });
  } catch (reason) {
    throw new OarlockError("DATA_FILE", `${name}: not a gzip file of at most ${MAX_TABLE_BYTES} bytes`, {
      cause: reason,
    });
  }
}

function text(bytes: Uint8Array): string {
  if (isUtf8(bytes)) return new TextDecoder().decode(bytes);
  const utf16 = (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff);
  const what = utf16 ? "the file is text in UTF-16" : `line ${lineOfWrongByte(bytes)} is not text in UTF-8`;
  throw new OarlockError("DATA_FILE", `${what}; accepted: UTF-8`);
}

/** A newline's byte is part of no other character, so lines can be looked at one by one. */
function lineOfWrongByte(bytes: Uint8Array): number {
  for (let line = 1, start = 0; ; line++) {
    const newline = bytes.indexOf(0x0a, start);
    if (newline < 0 || !isUtf8(bytes.subarray(start, newline))) return line;
    start = newline + 1;
  }
}

function record(value: unknown, place: string): TableRecord {
  if (isJsonObject(value)) return { place, values: value };
  throw new OarlockError("DATA_FILE", `${place} is ${describe(value)}; accepted: an object of named fields`);
}

/** A value in an error message: short, and with its kind. */
export function describe(value: unknown): string {
  if (value === undefined) return "missing";
  const shown =
    JSON.stringify(value, (_, inner: unknown) =>
      typeof inner === "bigint" || (typeof inner === "number" && !Number.isFinite(inner))
        ? String(inner)
        : inner,
    ) ?? "";
  const kind = Array.isArray(value) ? "list" : value === null ? "null" : typeof value;
  return `${shown.length > 60 ? `${shown.slice(0, 57)}…` : shown} (${kind})`;
}

/** An integer of JSON that a double may not hold; not the digits of a fraction or of an exponent. */
const LONG_INTEGER = /(?<![\w.+-])-?\d{16,}(?![\d.eE])/;
const QUOTES_AND_LONG_INTEGERS = new RegExp(String.raw`\\.|"|${LONG_INTEGER.source}`, "g");

/** JSON whose integers keep their digits: those that a double does not hold are text, as those of Parquet become it. */
function parseJson(content: string): unknown {
  const parsed: unknown = JSON.parse(content);
  if (!LONG_INTEGER.test(content)) return parsed;
  let isText = false;
  const exact = content.replaceAll(QUOTES_AND_LONG_INTEGERS, (found) => {
    if (found === '"') isText = !isText;
    const isLong = !isText && LONG_INTEGER.test(found) && !Number.isSafeInteger(Number(found));
    return isLong ? `"${found}"` : found;
  });
  return JSON.parse(exact);
}

/** Of two columns of one name, the second would silently be the one that counts. */
function distinctColumns(header: readonly string[]): string[] {
  const twice = header.find((column, i) => header.indexOf(column) !== i);
  if (twice === undefined) return [...header];
  throw new OarlockError(
    "DATA_FILE",
    `line 1 names the column ${JSON.stringify(twice)} twice; accepted: each column once`,
  );
}

const readers: {
  readonly [F in TableFormat]: (bytes: Uint8Array) => TableRecord[] | Promise<TableRecord[]>;
} = {
  jsonl(bytes) {
    const records: TableRecord[] = [];
    text(bytes)
      .split("\n")
      .forEach((line, i) => {
        if (line.trim() === "") return;
        const place = `line ${i + 1}`;
        try {
          records.push(record(parseJson(line), place));
        } catch (reason) {
          if (reason instanceof OarlockError) throw reason;
          throw new OarlockError(
            "DATA_FILE",
            `${place} is no JSON: ${reason instanceof Error ? reason.message : String(reason)}`,
          );
        }
      });
    return records;
  },
  json(bytes) {
    const parsed = parseJson(text(bytes));
    const rows = isJsonObject(parsed) && Array.isArray(parsed["data"]) ? parsed["data"] : parsed;
    if (!Array.isArray(rows))
      throw new OarlockError(
        "DATA_FILE",
        `the file is ${describe(parsed)}; accepted: a list of objects, or { "data": […] }`,
      );
    return rows.map((row, i) => record(row, `row ${i + 1}`));
  },
  csv(bytes) {
    const content = text(bytes);
    const rows = parseCsv(content, {
      delimiter: delimiterOf(content),
      columns: distinctColumns,
      // CSV has no other null; `datasets` reads it so too.
      cast: (cell, { header }) => (cell === "" && !header ? null : cell),
      skip_empty_lines: true,
      bom: true,
      max_record_size: 1 << 24,
    }) as unknown[];
    return rows.map((row, i) => record(row, `row ${i + 1}`));
  },
  async parquet(bytes) {
    const objects = await readParquet(bytes, MAX_TABLE_BYTES);
    return objects.map((row, i) => record(row, `row ${i + 1}`));
  },
};
