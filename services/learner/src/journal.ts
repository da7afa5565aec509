/**
 * `metrics.jsonl` and `samples.jsonl` of a run folder: appended in order. A resumed run first drops what lies behind the
 * checkpoint that it continues from, so that no step is in the record twice. It does so in files of its own, renamed into
 * place: what a superseded learner still appends goes to files that nobody sees (F1).
 */
import { open } from "node:fs/promises";
import { join } from "node:path";
import { asDiskError, replaceDurably, syncFolder } from "@oarlock/checkpoint";
import { metricsLine, parseMetrics, sampleLine } from "@oarlock/report";
import type { MetricsRecord, SampleRecord } from "@oarlock/report";
import type { Position } from "@oarlock/run";
import { readOptional, readSamples } from "./optional-file.ts";
import type { RunJournal } from "./ports.ts";

/** Where a resumed run continues. */
export interface JournalCut {
  /** Of the checkpoint; undefined where a run begins anew: nothing that was written counts. */
  readonly position: Position | undefined;
  /** Names of the plan's stages, in order. */
  readonly stages: readonly string[];
}

export interface FileJournal extends RunJournal, AsyncDisposable {}

/** Opens the two files of `folder`, cut behind `cut` if the run is resumed. */
export async function openJournal(folder: string, cut: JournalCut | undefined): Promise<FileJournal> {
  const metricsPath = join(folder, "metrics.jsonl");
  const samplesPath = join(folder, "samples.jsonl");
  if (cut !== undefined) await cutBehind(metricsPath, samplesPath, cut);
  const [metrics, samples] = [await open(metricsPath, "a"), await open(samplesPath, "a")];
  // Their names, where they are new.
  await syncFolder(folder);
  const sync = async (): Promise<void> => {
    await writing(metricsPath, metrics.sync());
    await writing(samplesPath, samples.sync());
  };
  return {
    metrics: (record) => writing(metricsPath, metrics.appendFile(metricsLine(record))),
    async samples(records) {
      for await (const piece of piecesOf(records)) await writing(samplesPath, samples.appendFile(piece));
    },
    sync,
    async [Symbol.asyncDispose]() {
      try {
        await sync();
      } finally {
        await metrics.close();
        await samples.close();
      }
    },
  };
}

/** A disk that is full, or failed, is said by name. */
function writing(path: string, done: Promise<void>): Promise<void> {
  return done.catch((reason: unknown) => {
    throw asDiskError(reason, `writing ${path}`);
  });
}

async function cutBehind(metricsPath: string, samplesPath: string, cut: JournalCut): Promise<void> {
  const records = parseMetrics((await readOptional(metricsPath)) ?? "");
  const kept = records.filter((record) => isHeld(cut, record));
  // After a power cut, too, each of the two files is the old one or the new one.
  await replaceDurably(metricsPath, new TextEncoder().encode(kept.map(metricsLine).join("")));
  // A sample has no global step: it goes with its stage's progress, or with its evaluation.
  const lastSteps = new Map(kept.map(({ stage, step }) => [stage, step]));
  const evaluations = new Set(kept.filter(({ kind }) => kind === "evaluation").map(placeOf));
  const isKnown = (sample: SampleRecord): boolean =>
    sample.kind === "evaluation"
      ? evaluations.has(placeOf(sample))
      : sample.step <= (lastSteps.get(sample.stage) ?? -1);
  await replaceDurably(samplesPath, piecesOf(readSamples(samplesPath), isKnown));
}

/** What is written at once. */
const PIECE_CHARACTERS = 1024 * 1024;

/**
 * The lines of those samples: all together may be longer than a string.
 *
 * @yields some whole lines
 */
async function* piecesOf(
  samples: AsyncIterable<SampleRecord> | Iterable<SampleRecord>,
  isKept: (sample: SampleRecord) => boolean = () => true,
): AsyncGenerator<Uint8Array> {
  let text = "";
  for await (const sample of samples) {
    if (isKept(sample)) text += sampleLine(sample);
    if (text.length < PIECE_CHARACTERS) continue;
    yield Buffer.from(text);
    text = "";
  }
  if (text !== "") yield Buffer.from(text);
}

const placeOf = ({ stage, step, when }: Pick<MetricsRecord, "stage" | "step" | "when">): string =>
  `${stage} ${step} ${when}`;

/** Whether the checkpoint knows of a record. An evaluation at its very step may have come after it. */
function isHeld({ position, stages }: JournalCut, { kind, stage, globalStep }: MetricsRecord): boolean {
  if (position === undefined || globalStep > position.policy) return false;
  if (kind === "step" || globalStep < position.policy) return true;
  const index = stages.indexOf(stage);
  const isEvaluated = position.begun && position.evaluatedPolicy === position.policy;
  return index < position.stage || (index === position.stage && isEvaluated);
}
