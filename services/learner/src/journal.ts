/**
 * `metrics.jsonl` and `samples.jsonl` of a run folder: appended in order. A resumed run first drops what lies behind the
 * checkpoint that it continues from, so that no step is in the record twice. It does so in files of its own, renamed into
 * place: what a superseded learner still appends goes to files that nobody sees (F1).
 */
import { open, rename, writeFile } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { metricsLine, parseMetrics, parseSamples, sampleLine } from "@oarlock/report";
import { readOptional } from "./optional-file.ts";
import type { RunJournal } from "./ports.ts";

/** Where a resumed run continues. */
export interface JournalCut {
  /** Steps of the run that the checkpoint holds; −1 where a run begins anew: nothing that was written counts. */
  readonly globalStep: number;
}

export interface FileJournal extends RunJournal, AsyncDisposable {}

/** Opens the two files of `folder`, cut behind `cut` if the run is resumed. */
export async function openJournal(folder: string, cut: JournalCut | undefined): Promise<FileJournal> {
  const metricsPath = join(folder, "metrics.jsonl");
  const samplesPath = join(folder, "samples.jsonl");
  if (cut !== undefined) await cutBehind(metricsPath, samplesPath, cut);
  const [metrics, samples] = [await open(metricsPath, "a"), await open(samplesPath, "a")];
  return {
    metrics: (record) => append(metrics, metricsLine(record)),
    async samples(records) {
      if (records.length > 0) await append(samples, records.map(sampleLine).join(""));
    },
    async [Symbol.asyncDispose]() {
      await metrics.sync();
      await metrics.close();
      await samples.close();
    },
  };
}

async function append(file: FileHandle, text: string): Promise<void> {
  await file.appendFile(text);
}

/** A sample has no global step: the policy version that made it bounds it, and so does its own stage's progress. */
async function cutBehind(
  metricsPath: string,
  samplesPath: string,
  { globalStep }: JournalCut,
): Promise<void> {
  const records = parseMetrics((await readOptional(metricsPath)) ?? "");
  const kept = records.filter((record) => record.globalStep <= globalStep);
  await replace(metricsPath, kept.map(metricsLine).join(""));
  const lastSteps = new Map(kept.map(({ stage, step }) => [stage, step]));
  const samples = parseSamples((await readOptional(samplesPath)) ?? "");
  const known = samples.filter(({ stage, step }) => step <= (lastSteps.get(stage) ?? -1));
  await replace(samplesPath, known.map(sampleLine).join(""));
}

async function replace(path: string, text: string): Promise<void> {
  await writeFile(`${path}.tmp`, text);
  await rename(`${path}.tmp`, path);
}
