/**
 * What overlapping generation, scoring and training is worth where scoring has a long tail: wall time of GRPO on one-digit
 * sums, from its first step to the first evaluation that reaches one accuracy, for lag 0, lag 1 and streaming. Same seed, same
 * plan otherwise; the scorer sleeps at random, so two sittings differ.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BenchRow, SkippedRow } from "./row.ts";

const STEPS = 40;
const EVALUATE_EVERY = 5;
/** The accuracy asked for is this share of the best that every mode reaches; sampled, held out. */
const TARGET_SHARE = 0.95;
/** Below, a mode has learned nothing in these steps, and the time to it says nothing. */
const LEAST_TARGET = 0.2;
const METRIC = "val-core/addition/answer/mean@4";
const MODES = {
  lag0: { mode: "lockstep", lag: 0 },
  lag1: { mode: "lockstep", lag: 1 },
  streaming: { mode: "streaming", maxStaleness: 4 },
} as const;

const task = (split: string) => ({ type: "task", task: { name: "addition", digits: 1, split } });
const adam = { schedule: "constant", weightDecay: 0, beta2: 0.99 };

const runFile = (pipeline: object): string =>
  JSON.stringify({
    apiVersion: "oarlock.dev/v1alpha1",
    kind: "TrainingRun",
    metadata: { name: "bench" },
    spec: {
      seed: 7,
      model: {
        init: {
          hiddenSize: 48,
          intermediateSize: 128,
          layers: 3,
          heads: 4,
          maxPositions: 16,
          tokenizer: { type: "characters", characters: { alphabet: "0123456789+=" } },
        },
      },
      pipeline,
      compute: { actors: 2, rewardWorkers: 8, slots: 32, generationWorkers: 1 },
      stages: [
        {
          name: "sft",
          type: "sft",
          sft: { data: task("train"), steps: 80, batchSize: 32, optimizer: { learningRate: 3e-3, ...adam } },
        },
        {
          name: "grpo",
          type: "grpo",
          grpo: {
            data: task("train"),
            steps: STEPS,
            promptsPerStep: 16,
            groupSize: 8,
            sampling: { maxNewTokens: 4 },
            rewards: [
              {
                name: "answer",
                type: "function",
                timeoutMs: 20_000,
                function: { file: join(import.meta.dirname, "slow-answer.ts") },
              },
            ],
            advantage: "dr-grpo",
            optimizer: { learningRate: 5e-4, ...adam },
          },
        },
      ],
      evaluation: {
        data: task("test"),
        every: EVALUATE_EVERY,
        samples: 4,
        rewards: [{ name: "answer", type: "exact" }],
      },
      checkpoints: { every: 1000, keep: 1 },
    },
  });

interface Line {
  readonly kind: string;
  readonly stage: string;
  readonly when?: string;
  readonly step: number;
  readonly timeMs: number;
  readonly metrics: Readonly<Record<string, number>>;
}

interface Measured {
  /** Seconds since the stage's start, and accuracy, of every evaluation. */
  readonly curve: readonly { readonly seconds: number; readonly accuracy: number }[];
  readonly secondsPerStep: number;
}

function measure(pipeline: object): Measured {
  const folder = mkdtempSync(join(tmpdir(), "oarlock-bench-"));
  try {
    writeFileSync(join(folder, "run.json"), runFile(pipeline));
    const oarlock = join(import.meta.dirname, "../../apps/cli/bin/oarlock.js");
    const out = join(folder, "out");
    execFileSync(process.execPath, [oarlock, "run", join(folder, "run.json"), "--out", out], {
      stdio: "pipe",
    });
    const lines = readFileSync(join(out, "metrics.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Line);
    const beginMs = lines.findLast(({ stage }) => stage === "sft")?.timeMs ?? Number.NaN;
    const evaluated = lines.filter(({ kind, stage }) => kind === "evaluation" && stage === "grpo");
    const steps = lines.filter(({ kind, stage }) => kind === "step" && stage === "grpo");
    return {
      curve: evaluated.map(({ timeMs, metrics }) => ({
        seconds: (timeMs - beginMs) / 1000,
        accuracy: metrics[METRIC] ?? 0,
      })),
      secondsPerStep: ((steps.at(-1)?.timeMs ?? Number.NaN) - beginMs) / 1000 / steps.length,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** `streaming.<mode>.*`: seconds to the accuracy, and seconds a step with its evaluations, over those of lag 0. */
export function rows(): (BenchRow | SkippedRow)[] {
  const measured = Object.entries(MODES).map(([mode, pipeline]) => ({ mode, ...measure(pipeline) }));
  const best = measured.map(({ curve }) => Math.max(...curve.map(({ accuracy }) => accuracy)));
  const target = TARGET_SHARE * Math.min(...best);
  const reached = measured.map(
    ({ curve }) => curve.find(({ accuracy }) => accuracy >= target)?.seconds ?? Number.NaN,
  );
  const relative = { unit: "s", relative_to: "lag 0" };
  return [
    { name: "streaming.accuracy", value: target, unit: "mean@4" },
    ...measured.flatMap(({ mode, secondsPerStep }, i): (BenchRow | SkippedRow)[] => [
      target < LEAST_TARGET
        ? { name: `streaming.${mode}.seconds_to_accuracy`, skipped: "not every mode learned in these steps" }
        : {
            name: `streaming.${mode}.seconds_to_accuracy`,
            value: reached[i] ?? Number.NaN,
            ...relative,
            ratio: (reached[i] ?? Number.NaN) / (reached[0] ?? Number.NaN),
          },
      {
        name: `streaming.${mode}.step_seconds`,
        value: secondsPerStep,
        ...relative,
        ratio: secondsPerStep / (measured[0]?.secondsPerStep ?? Number.NaN),
      },
    ]),
  ];
}
