/**
 * The whole system on the step that peers are timed on: stories260K, 8 prompts × 8 samples × 48 new tokens, reward " happy",
 * KL β 0.1, AdamW 3e-4, through services, bus, verified policy versions and journal. Peers run in the same sitting.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runPeer } from "./peers.ts";
import { type BenchRow, median, type SkippedRow } from "./row.ts";

const root = join(import.meta.dirname, "../..");
const MODEL = process.env["OARLOCK_BENCH_MODEL"] ?? join(root, "../shared/models/stories260K/hf");
const TEXT = process.env["OARLOCK_BENCH_TEXT"] ?? join(root, "../shared/data/text/tinystories_niklas6.txt");
const STEPS = 20;
const PEER_STEPS = 12;
/** The first steps load sessions and fill caches; the peers leave theirs out too. */
const WARM_STEPS = 3;

/** The first 60 characters of the first 64 stories longer than 120: what the peers' `prompts.py` takes. */
function storyPrompts(text: string): string[] {
  const stories = text.split(/<\|endoftext\|>|\n\s*\n/).map((story) => story.trim());
  return stories
    .filter((story) => story.length > 120)
    .slice(0, 64)
    .map((story) => story.slice(0, 60));
}

interface RunFileOptions {
  readonly data: string;
  readonly lag: number;
}

const runFile = ({ data, lag }: RunFileOptions): string =>
  JSON.stringify({
    apiVersion: "oarlock.dev/v1alpha1",
    kind: "TrainingRun",
    metadata: { name: "bench" },
    spec: {
      seed: 0,
      model: { from: MODEL },
      pipeline: { mode: "lockstep", lag },
      stages: [
        {
          name: "happy",
          type: "grpo",
          grpo: {
            data: { type: "file", file: { path: data } },
            steps: STEPS,
            promptsPerStep: 8,
            groupSize: 8,
            sampling: { maxNewTokens: 48 },
            maxPromptLength: 64,
            rewards: [{ name: "happy", type: "contains", contains: { text: " happy" } }],
            kl: { placement: "loss", estimator: "k3", coefficient: 0.1 },
            optimizer: { learningRate: 3e-4, warmupSteps: 0, schedule: "constant", weightDecay: 0 },
          },
        },
      ],
      checkpoints: { every: 1000, keep: 1 },
    },
  });

interface Measured {
  /** Median wall seconds from the end of one step to the end of the next. */
  readonly stepSeconds: number;
  /** Medians of the phases, by metric name. */
  readonly phases: Readonly<Record<string, number>>;
  readonly loopDelayMs: number | undefined;
}

interface StepRecord {
  readonly kind: string;
  readonly timeMs: number;
  readonly metrics: Readonly<Record<string, number>>;
}

function measure(lag: number): Measured {
  const folder = mkdtempSync(join(tmpdir(), "oarlock-bench-"));
  try {
    const data = join(folder, "prompts.jsonl");
    const lines = storyPrompts(readFileSync(TEXT, "utf8")).map((prompt) => JSON.stringify({ prompt }));
    writeFileSync(data, `${lines.join("\n")}\n`);
    writeFileSync(join(folder, "run.json"), runFile({ data, lag }));
    const oarlock = join(root, "apps/cli/bin/oarlock.js");
    execFileSync(process.execPath, [oarlock, "run", join(folder, "run.json"), "--out", join(folder, "out")], {
      stdio: "pipe",
    });
    const records = readFileSync(join(folder, "out/metrics.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as StepRecord);
    const steps = records.filter(({ kind }) => kind === "step").slice(WARM_STEPS);
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

/** `grpo.step_seconds` at lag 0 and 1, its breakdown, the services' loop delay, and the peers. */
export function rows(): (BenchRow | SkippedRow)[] {
  if (!existsSync(MODEL) || !existsSync(TEXT)) {
    const skipped =
      "needs stories260K and a story text: OARLOCK_BENCH_MODEL (Hugging Face folder), OARLOCK_BENCH_TEXT";
    return [{ name: "grpo.step_seconds", skipped }];
  }
  const [synchronous, overlapped] = [measure(0), measure(1)];
  const result: (BenchRow | SkippedRow)[] = [
    { name: "grpo.step_seconds", value: synchronous.stepSeconds, unit: "s" },
    {
      name: "grpo.step_seconds.lag1",
      value: overlapped.stepSeconds,
      unit: "s",
      relative_to: "lag 0",
      ratio: overlapped.stepSeconds / synchronous.stepSeconds,
    },
    ...Object.entries(synchronous.phases).map(([name, value]) => ({
      name: `grpo.${name}`,
      value,
      unit: "s",
      relative_to: "step",
      ratio: value / synchronous.stepSeconds,
    })),
  ];
  if (overlapped.loopDelayMs !== undefined) {
    result.push({
      name: "loop.delay_p99_ms",
      value: overlapped.loopDelayMs,
      unit: "ms",
      relative_to: "100 ms",
      ratio: overlapped.loopDelayMs / 100,
    });
  }
  for (const peer of ["trl", "pytorch"] as const) {
    const outcome = runPeer(peer, { model: MODEL, text: TEXT, steps: PEER_STEPS });
    if ("absent" in outcome) result.push({ name: `grpo.peer.${peer}`, skipped: outcome.absent });
    else {
      const best = Math.min(synchronous.stepSeconds, overlapped.stepSeconds);
      result.push({
        name: `grpo.peer.${peer}`,
        value: outcome.step_seconds,
        unit: "s",
        relative_to: `${outcome.peer}: ours over it`,
        ratio: best / outcome.step_seconds,
      });
    }
  }
  return result;
}
