/** A whole run in a process of its own, from a run file, and what its steps took. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BenchRow, median } from "./row.ts";

const root = join(import.meta.dirname, "../..");
/** stories260K in Hugging Face layout, and a text of stories. */
export const MODEL = process.env["OARLOCK_BENCH_MODEL"] ?? join(root, "../shared/models/stories260K/hf");
export const TEXT =
  process.env["OARLOCK_BENCH_TEXT"] ?? join(root, "../shared/data/text/tinystories_niklas6.txt");

/** Why there is nothing to measure on; undefined where both are there. */
export function withoutStories(): string | undefined {
  if (existsSync(MODEL) && existsSync(TEXT)) return undefined;
  return "needs stories260K and a story text: OARLOCK_BENCH_MODEL (Hugging Face folder), OARLOCK_BENCH_TEXT";
}

export interface Measured {
  /** Median wall seconds from the end of one step to the end of the next. */
  readonly stepSeconds: number;
  /** Medians of the phases, by metric name. */
  readonly phases: Readonly<Record<string, number>>;
  readonly loopDelayMs: number | undefined;
}

export interface MeasuredRun {
  /** The stage that is measured. */
  readonly stage: string;
  /** The first steps load sessions and fill caches; the peers leave theirs out too. */
  readonly warmSteps: number;
  /** File of stories. */
  readonly text: string;
  /** The run file over a file of prompts. */
  readonly runFile: (data: string) => string;
  /** Further files beside the run file, by name. */
  readonly files?: Readonly<Record<string, string>>;
}

interface StepRecord {
  readonly kind: string;
  readonly stage: string;
  readonly timeMs: number;
  readonly metrics: Readonly<Record<string, number>>;
}

/** The first 60 characters of the first 64 stories longer than 120: what the peers' `prompts.py` takes. */
export function storyPrompts(text: string): string[] {
  const stories = text.split(/<\|endoftext\|>|\n\s*\n/).map((story) => story.trim());
  return stories
    .filter((story) => story.length > 120)
    .slice(0, 64)
    .map((story) => story.slice(0, 60));
}

/** Runs it and reads its record. */
export function measureRun({ stage, warmSteps, text, runFile, files = {} }: MeasuredRun): Measured {
  const folder = mkdtempSync(join(tmpdir(), "oarlock-bench-"));
  try {
    const data = join(folder, "prompts.jsonl");
    const lines = storyPrompts(readFileSync(text, "utf8")).map((prompt) => JSON.stringify({ prompt }));
    writeFileSync(data, `${lines.join("\n")}\n`);
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
    writeFileSync(join(folder, "run.json"), runFile(data));
    const oarlock = join(root, "apps/cli/bin/oarlock.js");
    execFileSync(process.execPath, [oarlock, "run", join(folder, "run.json"), "--out", join(folder, "out")], {
      stdio: "pipe",
    });
    const records = readFileSync(join(folder, "out/metrics.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as StepRecord);
    const steps = records
      .filter((record) => record.kind === "step" && record.stage === stage)
      .slice(warmSteps);
    const gaps = steps.slice(1).map((step, i) => (step.timeMs - (steps[i]?.timeMs ?? 0)) / 1000);
    const names = Object.keys(steps[0]?.metrics ?? {}).filter((name) => name.startsWith("timing_s/"));
    const phases = names.map((name) => [
      name,
      median(steps.map(({ metrics }) => metrics[name] ?? Number.NaN)),
    ]);
    const summary = JSON.parse(readFileSync(join(folder, "out/summary.json"), "utf8")) as {
      loopDelay?: { p99Ms: number };
    };
    return {
      stepSeconds: median(gaps),
      phases: Object.fromEntries(phases),
      loopDelayMs: summary.loopDelay?.p99Ms,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The phases of a step, as shares of it. */
export function phaseRows(suite: string, { phases, stepSeconds }: Measured): BenchRow[] {
  return Object.entries(phases).map(([name, value]) => ({
    name: `${suite}.${name}`,
    value,
    unit: "s",
    relative_to: "step",
    ratio: value / stepSeconds,
  }));
}
