/**
 * The whole system on the step that peers are timed on: stories260K, 8 prompts × 8 samples × 48 new tokens, reward " happy",
 * KL β 0.1, AdamW 3e-4, through services, bus, verified policy versions and journal. Peers run in the same sitting.
 */
import { type Measured, measureRun, MODEL, phaseRows, TEXT, withoutStories } from "./measured-run.ts";
import { runPeer } from "./peers.ts";
import type { BenchRow, SkippedRow } from "./row.ts";
import { benchRunFile } from "./run-file.ts";

const STEPS = 20;
const PEER_STEPS = 12;
/** The first steps load sessions and fill caches; the peers leave theirs out too. */
const WARM_STEPS = 3;

interface RunFileOptions {
  readonly data: string;
  readonly lag: number;
}

const runFile = ({ data, lag }: RunFileOptions): string =>
  benchRunFile({
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
  });

const measure = (lag: number): Measured =>
  measureRun({
    stage: "happy",
    warmSteps: WARM_STEPS,
    text: TEXT,
    runFile: (data) => runFile({ data, lag }),
  });

/** `grpo.step_seconds` at lag 0 and 1, its breakdown, the services' loop delay, and the peers. */
export function rows(): (BenchRow | SkippedRow)[] {
  const skipped = withoutStories();
  if (skipped !== undefined) {
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
    ...phaseRows("grpo", synchronous),
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
