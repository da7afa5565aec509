/** Appends a run's records to a TensorBoard event file while it goes. Bytes are report's; this owns the file. */
import { appendFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import {
  eventFileHeader,
  eventFileName,
  type MetricsRecord,
  scalarRecord,
  sessionStart,
} from "@oarlock/report";

export interface TensorboardFile {
  /** Writes one record; calls are written in their order. */
  append(record: MetricsRecord): void;
  /** Resolves when everything is written; rejects with what could not be, behind which nothing was. */
  close(): Promise<void>;
}

/**
 * Opens a new event file in `folder`; each sitting of a run has its own, and TensorBoard joins them. Where the steps begin, and
 * where they go back to a checkpoint, the file says so: of what was written before, TensorBoard shows only the steps before that.
 */
export async function openTensorboardFile(
  folder: string,
  timeMs: number,
  host: string,
): Promise<TensorboardFile> {
  await mkdir(folder, { recursive: true });
  const path = join(folder, eventFileName(timeMs, host));
  let written = Promise.resolve();
  const write = (bytes: Uint8Array): void => {
    written = written.then(() => appendFile(path, bytes));
    // Told by `close`: until then nobody waits for it, and a full disk is no reason for the process to end.
    written.catch(() => undefined);
  };
  write(eventFileHeader(timeMs));
  let next = Number.POSITIVE_INFINITY;
  return {
    append({ kind, timeMs: wallTimeMs, globalStep: step, metrics, stage }) {
      // An evaluation is of what the step before it made; of step 0 there is none.
      const begin = kind === "step" || step === 0 ? step : step + 1;
      if (begin < next) write(sessionStart({ wallTimeMs, step: begin }));
      next = kind === "step" ? step + 1 : begin;
      const scalars = Object.fromEntries(
        Object.entries(metrics).map(([name, value]) => [`${stage}/${name}`, value]),
      );
      write(scalarRecord({ wallTimeMs, step, scalars }));
    },
    close: () => written,
  };
}
