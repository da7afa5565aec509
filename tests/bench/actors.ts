/**
 * Step time over the number of actors where generation dominates, next to the number beyond which the plan says that more cannot
 * help. Real actors as far as two cores go: long answers of stories260K. Beyond, simulated ones: services, bus, policies and
 * tokens are real, and each actor holds a group for `GROUP_MS` before it hands it over, as if it had computed so long.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Bus } from "@oarlock/bus";
import { startLocalRun } from "@oarlock/cli/local";
import { parseMetrics } from "@oarlock/report";
import { rolloutWindow, usefulActors } from "@oarlock/runfile";
import { sleep } from "@oarlock/runtime";
import { beforePublishing } from "../integration/publishing-bus.ts";
import { readRun, resolveRun, taskData } from "../resolve-run.ts";
import { type Measured, measureRun, MODEL, TEXT, withoutStories } from "./measured-run.ts";
import { type BenchRow, median, type SkippedRow } from "./row.ts";
import { benchRunFile } from "./run-file.ts";

const SIMULATED = [1, 2, 4, 8, 16];
const REAL = [1, 2];
const LAGS = [0, 1];
const STEPS = 10;
const WARM_STEPS = 2;
const PROMPTS = 8;
const GROUP_SIZE = 4;
/** Of an actor for one group. */
const GROUP_MS = 250;
const TOKENS = 190;
/** Until a batch is generated and scored. */
const GEN = "timing_s/gen";

export async function rows(): Promise<readonly (BenchRow | SkippedRow)[]> {
  const measured: (BenchRow | SkippedRow)[] = [];
  for (const lag of LAGS) {
    measured.push({ name: `actors.lag${lag}.useful`, value: usefulMaximum(lag), unit: "actors" });
    measured.push(
      ...(await over(SIMULATED, `actors.lag${lag}.simulated`, (actors) => simulated({ actors, lag }))),
    );
  }
  const skipped = withoutStories();
  if (skipped !== undefined) {
    return [...measured, { name: "actors.lag0.real", skipped }];
  }
  const phases = new Map<number, Measured["phases"]>();
  const steps = await over(REAL, "actors.lag0.real", async (actors) => {
    const run = real(actors);
    phases.set(actors, run.phases);
    return run.stepSeconds;
  });
  const generation = await over(
    REAL,
    "actors.lag0.real.gen",
    async (actors) => phases.get(actors)?.[GEN] ?? Number.NaN,
  );
  measured.push(...steps, ...generation);
  return measured;
}

/** A row per number of actors, each over the first. */
async function over(
  numbers: readonly number[],
  name: string,
  stepSeconds: (actors: number) => Promise<number>,
): Promise<BenchRow[]> {
  const seconds: number[] = [];
  for (const actors of numbers) seconds.push(await stepSeconds(actors));
  const [first = Number.NaN] = seconds;
  return seconds.map((value, at) => ({
    name: `${name}.${numbers[at]}`,
    value,
    unit: "s a step",
    relative_to: `${numbers[0]} actor`,
    ratio: value / first,
  }));
}

function usefulMaximum(lag: number): number {
  const window = rolloutWindow(plan({ actors: 1, lag }).spec);
  return window === undefined ? Number.NaN : usefulActors(window).most;
}

interface Fleet {
  readonly actors: number;
  readonly lag: number;
}

async function simulated(fleet: Fleet): Promise<number> {
  const outDir = mkdtempSync(join(tmpdir(), "oarlock-bench-"));
  try {
    const busFor = (bus: Bus, service: string): Bus => (service.startsWith("actor") ? holding(bus) : bus);
    const run = await startLocalRun(plan(fleet), { outDir, baseDir: outDir, busFor });
    await run.finished;
    const records = parseMetrics(readFileSync(join(outDir, "metrics.jsonl"), "utf8"));
    const steps = records.filter(({ kind }) => kind === "step").slice(WARM_STEPS);
    return median(steps.slice(1).map(({ timeMs }, at) => (timeMs - (steps[at]?.timeMs ?? 0)) / 1_000));
  } finally {
    rmSync(outDir, { recursive: true, force: true });
  }
}

/** The bus of an actor that hands over one group after the other. */
function holding(bus: Bus): Bus {
  let last: Promise<void> = Promise.resolve();
  return beforePublishing(bus, () => (last = last.then(() => sleep(GROUP_MS))));
}

function plan({ actors, lag }: Fleet): ReturnType<typeof resolveRun> {
  const data = { type: "task", task: { name: "addition", digits: 1, split: "train" } };
  const text = benchRunFile({
    seed: 7,
    model: {
      init: {
        hiddenSize: 32,
        intermediateSize: 64,
        layers: 2,
        heads: 2,
        maxPositions: 16,
        tokenizer: { type: "characters", characters: { alphabet: "0123456789+=" } },
      },
    },
    pipeline: { mode: "lockstep", lag },
    compute: { actors, slots: 2 * GROUP_SIZE, generationWorkers: 1, trainingThreads: 1 },
    stages: [
      {
        name: "grpo",
        type: "grpo",
        grpo: {
          data,
          steps: STEPS,
          promptsPerStep: PROMPTS,
          groupSize: GROUP_SIZE,
          sampling: { maxNewTokens: 4 },
          rewards: [{ name: "answer", type: "exact" }],
          optimizer: { learningRate: 5e-4 },
        },
      },
    ],
  });
  const file = readRun(text, "bench.json", []);
  return resolveRun(file, { data: taskData(file, 8), functions: new Map() });
}

function real(actors: number): Measured {
  const runFile = (data: string): string =>
    benchRunFile({
      model: { from: MODEL },
      pipeline: { mode: "lockstep", lag: 0 },
      compute: { actors, slots: 2 * GROUP_SIZE, generationWorkers: 1 },
      stages: [
        {
          name: "long",
          type: "grpo",
          grpo: {
            data: { type: "file", file: { path: data } },
            steps: STEPS,
            promptsPerStep: PROMPTS,
            groupSize: GROUP_SIZE,
            sampling: { maxNewTokens: TOKENS },
            maxPromptLength: 64,
            rewards: [{ name: "happy", type: "contains", contains: { text: " happy" } }],
            optimizer: { learningRate: 1e-5, schedule: "constant" },
          },
        },
      ],
    });
  return measureRun({ stage: "long", warmSteps: WARM_STEPS, text: TEXT, runFile });
}
