/**
 * What a run writes down while it goes: one line of JSON per step, evaluation and sample.
 *
 * Names of metrics are verl's. Numbers that JSON cannot say become null: a NaN is seen, and never parsed as text.
 * Knows no files.
 */
import { OarlockError } from "@oarlock/errors";

/** One line of `metrics.jsonl`. */
export interface MetricsRecord {
  readonly kind: "step" | "evaluation";
  readonly stage: string;
  /** Step within the stage, from 1; an evaluation before the first step has 0. */
  readonly step: number;
  /** Step within the run. */
  readonly globalStep: number;
  /** The policy version that the step made, or that was evaluated. */
  readonly policyVersion: number;
  /** SHA-256 of that version's weights. */
  readonly policyDigest: string;
  /** Unix time in milliseconds. */
  readonly timeMs: number;
  readonly metrics: Readonly<Record<string, number>>;
  /** Of an evaluation: where in the stage. */
  readonly when?: EvaluationTime;
  /** Of the step or evaluation, where it was traced: 32 hex digits. */
  readonly traceId?: string;
  /** Guards that fired at this step. */
  readonly alarms?: readonly AlarmRecord[];
}

/** A guard that fired, and what followed. */
export interface AlarmRecord {
  readonly guard: string;
  readonly reaction: string;
  /** One sentence for people. */
  readonly message: string;
}

export type EvaluationTime = "before" | "after" | "step";

/** One line of `samples.jsonl`. */
export interface SampleRecord {
  readonly kind: "rollout" | "evaluation";
  readonly when?: EvaluationTime;
  readonly stage: string;
  readonly step: number;
  readonly policyVersion: number;
  /** Row of the data; the same row before and after is the same prompt. */
  readonly promptIndex: number;
  /** Rollouts: the place of its group in the data, as step (from 0) and index; in streaming mode not that of `step`. */
  readonly group?: readonly [number, number];
  /** Number within the group. */
  readonly sample: number;
  readonly prompt: string;
  readonly completion: string;
  /** What would have been right, where the data says so. */
  readonly answer?: string;
  /** By scorer; null where it failed (S1). */
  readonly rewards: Readonly<Record<string, number | null>>;
  /** Of each scorer that gave a score: what it was, e.g. the digest of a reward model. */
  readonly versions?: Readonly<Record<string, string>>;
  /** Weighted sum; null where the sample failed (S1). */
  readonly total: number | null;
  /** Why it failed: the scorer, a code and its words. */
  readonly failure?: string;
  readonly finishReason: string;
  readonly greedy?: boolean;
  /** Of its group, where it was traced: 32 hex digits. */
  readonly traceId?: string;
}

/** One line of `metrics.jsonl`, with its newline. */
export function metricsLine(record: MetricsRecord): string {
  const { kind, stage, step, globalStep, policyVersion, policyDigest, timeMs, when, traceId, alarms } =
    record;
  const head = {
    kind,
    ...(when === undefined ? {} : { when }),
    stage,
    step,
    globalStep,
    policyVersion,
    policyDigest,
    timeMs,
    ...(traceId === undefined ? {} : { traceId }),
    ...(alarms === undefined ? {} : { alarms }),
  };
  return `${JSON.stringify({ ...head, metrics: sorted(record.metrics) })}\n`;
}

/** One line of `samples.jsonl`, with its newline. */
export function sampleLine(record: SampleRecord): string {
  return `${JSON.stringify(record)}\n`;
}

/** Metrics by name; what is not finite is left to JSON, which says null. */
function sorted(metrics: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(metrics).toSorted(([left], [right]) => (left < right ? -1 : 1)));
}

/** Reads `metrics.jsonl`. A last line that was cut off by a crash is left out; other broken lines are errors. */
export function parseMetrics(text: string): MetricsRecord[] {
  return parseLines(text, "metrics.jsonl", isMetricsRecord).map((record) => {
    const metrics = Object.entries(record.metrics).map(
      ([name, value]) => [name, value ?? Number.NaN] as const,
    );
    return { ...record, metrics: Object.fromEntries(metrics) };
  });
}

/** Reads `samples.jsonl`, as `parseMetrics` does. */
export function parseSamples(text: string): SampleRecord[] {
  return parseLines(text, "samples.jsonl", isSampleRecord);
}

/**
 * Reads `samples.jsonl` in pieces, as of a stream: it may be longer than a string.
 *
 * @yields each sample
 */
export async function* samplesIn(pieces: AsyncIterable<string>): AsyncGenerator<SampleRecord> {
  const reader = lineReader("samples.jsonl", isSampleRecord);
  for await (const piece of pieces) yield* reader.take(piece);
  yield* reader.end();
}

function parseLines<T>(text: string, file: string, accepts: (value: unknown) => value is T): T[] {
  const reader = lineReader(file, accepts);
  return [...reader.take(text), ...reader.end()];
}

interface LineReader<T> {
  /** The records that end in this piece of the text. */
  take(piece: string): T[];
  /** The last one, if its newline alone is missing. */
  end(): T[];
}

function lineReader<T>(file: string, accepts: (value: unknown) => value is T): LineReader<T> {
  let unfinished = "";
  let number = 0;
  return {
    take(piece) {
      const lines = (unfinished + piece).split("\n");
      unfinished = lines.pop() ?? "";
      return lines.flatMap((line) => {
        number++;
        return line.trim() === "" ? [] : [parseLine(line, `${file}:${number}`, accepts)];
      });
    },
    end() {
      const last = unfinished.trim() === "" ? undefined : tryParse(unfinished);
      return accepts(last) ? [last] : [];
    },
  };
}

function parseLine<T>(line: string, place: string, accepts: (value: unknown) => value is T): T {
  const value = tryParse(line);
  if (accepts(value)) return value;
  throw new OarlockError("RECORD_INVALID", `${place}: not a record of this run: ${line.slice(0, 80)}`);
}

/** undefined where the text is not JSON: a line that a crash cut off is expected, and the caller decides. */
function tryParse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function isMetricsRecord(value: unknown): value is MetricsRecord {
  if (!isObject(value) || !isObject(value["metrics"])) return false;
  const numbers = ["step", "globalStep", "policyVersion", "timeMs"].every(
    (key) => typeof value[key] === "number",
  );
  return (
    numbers &&
    typeof value["stage"] === "string" &&
    (value["kind"] === "step" || value["kind"] === "evaluation") &&
    (value["alarms"] === undefined || (Array.isArray(value["alarms"]) && value["alarms"].every(isAlarm)))
  );
}

function isAlarm(value: unknown): boolean {
  return isObject(value) && ["guard", "reaction", "message"].every((key) => typeof value[key] === "string");
}

function isSampleRecord(value: unknown): value is SampleRecord {
  if (!isObject(value) || !isObject(value["rewards"])) return false;
  const texts = ["stage", "prompt", "completion", "finishReason"].every(
    (key) => typeof value[key] === "string",
  );
  return texts && typeof value["step"] === "number" && typeof value["promptIndex"] === "number";
}
