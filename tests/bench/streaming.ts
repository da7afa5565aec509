/**
 * What overlapping generation, scoring and training is worth where scoring has a long tail: wall time of GRPO on two-digit
 * sums, from its first step to the first evaluation that reaches one accuracy, for lag 0, lag 1 and streaming. Same seed, same
 * plan otherwise; the scorer sleeps at random, so two sittings differ.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BenchRow, SkippedRow } from "./row.ts";
import { benchRunFile } from "./run-file.ts";

const STEPS = 50;
const EVALUATE_EVERY = 5;
/** The accuracy asked for is this share of the way from where GRPO begins to the best that every mode reaches; sampled, held out. */
const TARGET_SHARE = 0.8;
/** Where a mode gains less than that, it has learned nothing in these steps, and the time to it says nothing. */
const LEAST_GAIN = 0.05;
const METRIC = "val-core/addition/answer/mean@4";
const MODES = {
  lag0: { mode: "lockstep", lag: 0 },
  lag1: { mode: "lockstep", lag: 1 },
  streaming: { mode: "streaming", maxStaleness: 4 },
} as const;

const task = (split: string, limit?: number) => ({
  type: "task",
  task: { name: "addition", digits: 2, split, ...(limit === undefined ? {} : { limit }) },
});
const adam = { schedule: "constant", weightDecay: 0, beta2: 0.99 };

interface Plan {
  readonly model: object;
  readonly pipeline?: object;
  readonly stage: object;
  readonly evaluation?: object;
}

const runFile = ({ model, pipeline = MODES.lag0, stage, evaluation }: Plan): string =>
  benchRunFile({
    seed: 7,
    model,
    pipeline,
    compute: { actors: 2, rewardWorkers: 8, slots: 64, generationWorkers: 1 },
    stages: [stage],
    ...(evaluation === undefined ? {} : { evaluation }),
  });

/** As the quickstart's, but of a fixed number of steps, in the midst of learning to carry: every mode begins with its weights. */
const imitation: Plan = {
  model: {
    init: {
      hiddenSize: 64,
      intermediateSize: 192,
      layers: 4,
      heads: 4,
      maxPositions: 32,
      tokenizer: { type: "characters", characters: { alphabet: "0123456789+=" } },
    },
  },
  stage: {
    name: "sft",
    type: "sft",
    sft: {
      data: task("train"),
      steps: 600,
      batchSize: 64,
      optimizer: { learningRate: 3e-3, warmupSteps: 20, ...adam },
    },
  },
};

const practice = (from: string, pipeline: object): Plan => ({
  model: { from },
  pipeline,
  stage: {
    name: "grpo",
    type: "grpo",
    grpo: {
      data: task("train"),
      steps: STEPS,
      promptsPerStep: 64,
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
  evaluation: {
    data: task("test", 400),
    every: EVALUATE_EVERY,
    samples: 4,
    rewards: [{ name: "answer", type: "exact" }],
  },
});

/** Runs a plan in a process of its own; gives its run folder. */
function run(plan: Plan, folder: string): string {
  const out = join(folder, "out");
  writeFileSync(join(folder, "run.json"), runFile(plan));
  const oarlock = join(import.meta.dirname, "../../apps/cli/bin/oarlock.js");
  execFileSync(process.execPath, [oarlock, "run", join(folder, "run.json"), "--out", out], { stdio: "pipe" });
  return out;
}

interface Line {
  readonly kind: string;
  readonly timeMs: number;
  readonly metrics: Readonly<Record<string, number>>;
}

interface Measured {
  /** Accuracy before the stage. */
  readonly begin: number;
  /** Seconds since then, and accuracy, of every evaluation. */
  readonly curve: readonly { readonly seconds: number; readonly accuracy: number }[];
  readonly secondsPerStep: number;
}

function measure(from: string, pipeline: object, folder: string): Measured {
  const out = run(practice(from, pipeline), folder);
  const lines = readFileSync(join(out, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);
  const [before, ...evaluated] = lines.filter(({ kind }) => kind === "evaluation");
  const beginMs = before?.timeMs ?? Number.NaN;
  const steps = lines.filter(({ kind }) => kind === "step");
  return {
    begin: before?.metrics[METRIC] ?? Number.NaN,
    curve: evaluated.map(({ timeMs, metrics }) => ({
      seconds: (timeMs - beginMs) / 1000,
      accuracy: metrics[METRIC] ?? 0,
    })),
    secondsPerStep: ((steps.at(-1)?.timeMs ?? Number.NaN) - beginMs) / 1000 / steps.length,
  };
}

/** Every mode, from the same weights. */
function measureModes(): (Measured & { readonly mode: string })[] {
  const folder = mkdtempSync(join(tmpdir(), "oarlock-bench-"));
  const place = (name: string): string => {
    mkdirSync(join(folder, name));
    return join(folder, name);
  };
  try {
    const from = join(run(imitation, place("sft")), "final");
    return Object.entries(MODES).map(([mode, pipeline]) => ({
      mode,
      ...measure(from, pipeline, place(mode)),
    }));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** `streaming.<mode>.*`: seconds to the accuracy, and seconds a step with its evaluations, over those of lag 0. */
export function rows(): (BenchRow | SkippedRow)[] {
  const measured = measureModes();
  const best = measured.map(({ curve }) => Math.max(...curve.map(({ accuracy }) => accuracy)));
  // The same in all modes: they begin with the same weights.
  const begin = measured[0]?.begin ?? Number.NaN;
  const gain = Math.min(...best) - begin;
  const target = begin + TARGET_SHARE * gain;
  const reached = measured.map(
    ({ curve }) => curve.find(({ accuracy }) => accuracy >= target)?.seconds ?? Number.NaN,
  );
  const relative = { unit: "s", relative_to: "lag 0" };
  return [
    { name: "streaming.accuracy_before", value: begin, unit: "mean@4" },
    { name: "streaming.accuracy", value: target, unit: "mean@4" },
    ...measured.flatMap(({ mode, secondsPerStep }, i): (BenchRow | SkippedRow)[] => [
      gain < LEAST_GAIN
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
