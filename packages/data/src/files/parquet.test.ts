/** Parquet files that say more of themselves than they hold. */
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { MAX_TABLE_BYTES, readTable } from "./table.ts";

/** Thrift's compact protocol, as far as a small Parquet file needs it. */
const varint = (value: number): number[] =>
  value < 128 ? [value] : [(value % 128) + 128, ...varint(Math.floor(value / 128))];
interface Field {
  readonly type: number;
  readonly bytes: readonly number[];
}
const i32 = (value: number): Field => ({ type: 5, bytes: varint(2 * value) });
const i64 = (value: number): Field => ({ type: 6, bytes: varint(2 * value) });
const text = (value: string): Field => ({ type: 8, bytes: [value.length, ...Buffer.from(value)] });
const list = (...items: readonly Field[]): Field => ({
  type: 9,
  bytes: [items.length * 16 + (items[0]?.type ?? 0), ...items.flatMap(({ bytes }) => bytes)],
});
const struct = (fields: Readonly<Record<number, Field>>): Field => {
  let last = 0;
  const bytes = Object.entries(fields).flatMap(([id, field]) => {
    const header = (Number(id) - last) * 16 + field.type;
    last = Number(id);
    return [header, ...field.bytes];
  });
  return { type: 12, bytes: [...bytes, 0] };
};

const [GZIP, ZSTD] = [2, 6];

/** A file of one column `n` of 32-bit numbers, of which it says what `says` has. */
function parquetFile(
  page: Uint8Array,
  says: { readonly codec: number; readonly pageBytes: number; readonly totalBytes?: number },
): Uint8Array {
  const rows = 2;
  const header = struct({
    1: i32(0),
    2: i32(says.pageBytes),
    3: i32(page.length),
    5: struct({ 1: i32(rows), 2: i32(0), 3: i32(3), 4: i32(3) }),
  });
  const body = [...header.bytes, ...page];
  const column = struct({
    1: i32(1),
    2: list(i32(0)),
    3: list(text("n")),
    4: i32(says.codec),
    5: i64(rows),
    6: i64(says.totalBytes ?? says.pageBytes),
    7: i64(body.length),
    9: i64(4),
  });
  const group = struct({ 1: list(struct({ 2: i64(4), 3: column })), 2: i64(body.length), 3: i64(rows) });
  const schema = list(
    struct({ 4: text("schema"), 5: i32(1) }),
    struct({ 1: i32(1), 3: i32(0), 4: text("n") }),
  );
  const footer = struct({ 1: i32(1), 2: schema, 3: i64(rows), 4: list(group) }).bytes;
  const footerBytes = new Uint8Array(Uint32Array.of(footer.length).buffer);
  return Uint8Array.from([
    ...Buffer.from("PAR1"),
    ...body,
    ...footer,
    ...footerBytes,
    ...Buffer.from("PAR1"),
  ]);
}

const numbers = new Uint8Array(Int32Array.of(7, 8).buffer);
/** A frame that repeats one zero 100 000 times, and does not say so beforehand. */
const repeated = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, 0x03, 0x35, 0x0c, 0);

describe("readParquet", () => {
  it("reads what is as it says", async () => {
    const file = parquetFile(gzipSync(numbers), { codec: GZIP, pageBytes: 8 });
    const rows = await readTable("a.parquet", file, "parquet");
    expect(rows.map(({ values }) => values)).toEqual([{ n: 7 }, { n: 8 }]);
  });

  const tooMuch = MAX_TABLE_BYTES + 1;
  it.each([
    ["its columns", { codec: GZIP, pageBytes: 8, totalBytes: tooMuch }],
    ["a page of it", { codec: GZIP, pageBytes: tooMuch, totalBytes: 8 }],
  ])("X1: refuses a file before it is decompressed where %s would be too large", async (_, says) => {
    const file = parquetFile(gzipSync(numbers), says);
    await expect(readTable("a.parquet", file, "parquet")).rejects.toThrow(
      `a.parquet: ${tooMuch} bytes when decompressed; at most ${MAX_TABLE_BYTES} are read`,
    );
  });

  it("gives a page no more than it says, whatever is in it", async () => {
    const file = parquetFile(repeated, { codec: ZSTD, pageBytes: 8 });
    const rows = await readTable("a.parquet", file, "parquet");
    expect(rows.map(({ values }) => values)).toEqual([{ n: 0 }, { n: 0 }]);
  });
});
