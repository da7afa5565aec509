/** A tiny real run with telemetry, and what it wrote down. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseMetrics, parseSamples } from "@oarlock/report";
import type { MetricsRecord, SampleRecord } from "@oarlock/report";
import type { Environment, Log } from "@oarlock/runtime";
import { startLocalRun } from "@oarlock/cli/local";
import type { LocalRun, LocalRunOptions, RunEvent } from "@oarlock/cli/local";
import { afterAll } from "vitest";
import { additionPlan } from "./addition-plan.ts";

const folders: string[] = [];
/** A new folder that is removed when the file's tests are over. */
export async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "oarlock-traces-"));
  folders.push(folder);
  return folder;
}
afterAll(async () => {
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
});

/** A delay that no test lives to see: what arrives was flushed at the end. */
export const ONLY_FLUSHED = { OTEL_BSP_SCHEDULE_DELAY: "600000", OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "65536" };

export interface Ran {
  readonly uid: string;
  readonly records: readonly MetricsRecord[];
  readonly samples: readonly SampleRecord[];
  readonly digests: readonly string[];
  readonly events: readonly RunEvent[];
}

/** What to run. */
export interface RunChoice {
  readonly environment: Environment;
  readonly set?: readonly string[];
  /** The bus as a service sees it. */
  readonly busFor?: NonNullable<LocalRunOptions["busFor"]>;
  readonly log?: Log;
  /** Called once, after the first step. */
  readonly onStep?: (local: LocalRun) => Promise<void>;
}

/** Runs the addition plan to its end. */
export async function run({ set = [], onStep, ...choice }: RunChoice): Promise<Ran> {
  const outDir = await newFolder();
  const events: RunEvent[] = [];
  let asked: Promise<void> | undefined;
  const onEvent = (event: RunEvent): void => {
    events.push(event);
    if (event.type === "step") asked ??= started.then((local) => onStep?.(local));
  };
  const started = startLocalRun(additionPlan(set), { outDir, baseDir: outDir, onEvent, ...choice });
  const local = await started;
  await local.finished;
  await asked;
  const records = parseMetrics(await readFile(join(outDir, "metrics.jsonl"), "utf8"));
  const samples = parseSamples(await readFile(join(outDir, "samples.jsonl"), "utf8"));
  const digests = records.filter(({ kind }) => kind === "step").map(({ policyDigest }) => policyDigest);
  return { uid: local.uid, records, samples, digests, events };
}
