/** A file as a source of byte ranges: of any size, one open handle, no more in memory than is asked for. */
import { open } from "node:fs/promises";
import { OarlockError } from "@oarlock/errors";
import type { ByteSource } from "@oarlock/safetensors";

/** Close it when done. */
export interface FileSource extends ByteSource {
  readonly path: string;
  close(): Promise<void>;
}

/** One system call reads no more than this: Linux cuts at 2 GiB. */
const MAX_READ_BYTES = 1 << 30;

/** Throws `MODEL_FILE` where there is no such file. */
export async function openFileSource(path: string): Promise<FileSource> {
  const handle = await open(path, "r").catch((cause: unknown) => {
    throw new OarlockError("MODEL_FILE", `${path} cannot be read`, { cause });
  });
  const info = await handle.stat();
  if (!info.isFile()) {
    await handle.close();
    throw new OarlockError("MODEL_FILE", `${path} is ${info.isDirectory() ? "a folder" : "no plain file"}`);
  }
  return {
    path,
    sizeBytes: info.size,
    async read(target, offsetBytes, signal) {
      for (let done = 0; done < target.length;) {
        signal?.throwIfAborted();
        const wanted = Math.min(MAX_READ_BYTES, target.length - done);
        const { bytesRead } = await handle.read(target, done, wanted, offsetBytes + done);
        if (bytesRead === 0) {
          const end = offsetBytes + target.length;
          throw new OarlockError(
            "MODEL_FILE",
            `${path} ends at byte ${offsetBytes + done}; ${end} are needed`,
          );
        }
        done += bytesRead;
      }
    },
    close: () => handle.close(),
  };
}
