/**
 * Parquet files as plain objects. What the file, and then each of its pages, says that it holds is bounded before anything is
 * allocated for it, and no page gets more than it said. It does not know what columns mean.
 */
import { OarlockError } from "@oarlock/errors";
import { type Compressors, parquetMetadata, parquetReadObjects } from "hyparquet";
import { compressors, decompressZstd } from "hyparquet-compressors";

const MAX_ROWS = 50_000_000;

/** The rows, of at most `maxBytes` after decompression. Throws `DATA_FILE`, and what the reader says of a damaged file. */
export async function readParquet(bytes: Uint8Array, maxBytes: number): Promise<unknown[]> {
  const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
  const metadata = parquetMetadata(file);
  const rows = Number(metadata.num_rows);
  if (rows > MAX_ROWS)
    throw new OarlockError("DATA_FILE", `${rows} rows are more than this reader holds in memory`);
  const columns = metadata.row_groups.flatMap((group) => group.columns.map((column) => column.meta_data));
  requireAtMost(
    maxBytes,
    columns.reduce((sum, column) => sum + Number(column?.total_uncompressed_size ?? 0), 0),
  );
  return parquetReadObjects({ file, metadata, compressors: bounded(maxBytes) });
}

/** The decompressors, which together give at most `maxBytes`. */
function bounded(maxBytes: number): Compressors {
  let sum = 0;
  const inBounds: Compressors = {
    ...compressors,
    ZSTD: (page, length) => decompressZstd(page, new Uint8Array(length)),
  };
  return Object.fromEntries(
    Object.entries(inBounds).map(([codec, decompress]): [string, typeof decompress] => [
      codec,
      (page, length) => {
        requireAtMost(maxBytes, (sum += length));
        return decompress(page, length);
      },
    ]),
  );
}

function requireAtMost(maxBytes: number, bytes: number): void {
  if (bytes > maxBytes)
    throw new OarlockError("DATA_FILE", `${bytes} bytes when decompressed; at most ${maxBytes} are read`);
}
