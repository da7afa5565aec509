/**
 * How long a run took, over all its sittings. Each leaves word of when it began, until its summary is written: one that was
 * killed leaves it for good, and lasted until its last record.
 */
import { rm } from "node:fs/promises";
import type { MetricsRecord } from "@oarlock/report";
import { readJson, readSummary, type RunPaths, writeDocument } from "./run-folder.ts";

/** `sitting.json`, while the summary does not say it. */
interface Sitting {
  /** Unix time in milliseconds. */
  readonly startedMs: number;
  /** Wall-clock time of those before it. */
  readonly earlierSeconds: number;
}

/** Leaves word of a sitting that begins. */
export function beginSitting(paths: RunPaths, sitting: Sitting): Promise<void> {
  return writeDocument(paths.sitting, `${JSON.stringify(sitting)}\n`);
}

/** The summary has it all. */
export function endSitting(paths: RunPaths): Promise<void> {
  return rm(paths.sitting, { force: true });
}

/** Wall-clock time of all sittings until now; of one that is not at work any more, until the last of the records. */
export async function secondsSoFar(
  paths: RunPaths,
  records: readonly MetricsRecord[],
  nowMs?: number,
): Promise<number> {
  const sitting = await readJson<Sitting>(paths.sitting);
  if (sitting === undefined) return (await readSummary(paths))?.seconds ?? 0;
  const { startedMs, earlierSeconds } = sitting;
  const endMs = nowMs ?? records.at(-1)?.timeMs ?? startedMs;
  return earlierSeconds + Math.max(0, endMs - startedMs) / 1000;
}
