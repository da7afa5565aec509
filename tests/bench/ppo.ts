/**
 * PPO against a reward model on the samples that GRPO is timed on (stories260K, 64 completions of 48 tokens), with a critic of
 * the policy's size; and how fast a reward model scores such completions.
 */
import { readFileSync } from "node:fs";
import { loadModelFolder } from "@oarlock/models";
import { scoreWeights, withScoreHead } from "@oarlock/nn";
import { createScoreModel } from "@oarlock/training";
import { measureRun, MODEL, phaseRows, storyPrompts, TEXT, withoutStories } from "./measured-run.ts";
import { type BenchRow, median, type SkippedRow } from "./row.ts";
import { benchRunFile } from "./run-file.ts";

const STEPS = 15;
const WARM_STEPS = 3;
/** Prompt and completion of the measured run, about. */
const SCORED_TOKENS = 72;
const SCORED_TEXTS = 64;
const SCORE_ROUNDS = 5;
const TIMEOUT_MS = 120_000;

const runFile = (data: string): string =>
  benchRunFile({
    model: { from: MODEL },
    pipeline: { mode: "lockstep", lag: 0 },
    stages: [
      {
        name: "judge",
        type: "reward-model",
        "reward-model": {
          data: { type: "file", file: { path: "./pairs.jsonl" } },
          steps: 2,
          batchSize: 8,
          minimumAccuracy: 0,
        },
      },
      {
        name: "please",
        type: "ppo",
        ppo: {
          data: { type: "file", file: { path: data } },
          steps: STEPS,
          promptsPerStep: 8,
          groupSize: 8,
          epochs: 1,
          sampling: { maxNewTokens: 48 },
          maxPromptLength: 64,
          rewards: [{ name: "preferred", type: "model", model: { from: "stage/judge" } }],
          optimizer: { learningRate: 3e-4, warmupSteps: 0 },
        },
      },
    ],
  });

/** Any pairs do: the time of a score does not depend on what was learned. */
function pairs(prompts: readonly string[]): string {
  const lines = prompts.map((prompt) =>
    JSON.stringify({ prompt, chosen: " They were happy.", rejected: " They were sad." }),
  );
  return `${lines.join("\n")}\n`;
}

/** Texts that one thread of a reward worker scores in a second. */
async function scoresPerSecond(): Promise<number> {
  const { config, weights } = await loadModelFolder(MODEL);
  await using model = await createScoreModel({
    config: withScoreHead(config),
    weights: scoreWeights({ config, weights }),
    ort: { threads: 1 },
  });
  const texts = Array.from({ length: SCORED_TEXTS }, (_, text) =>
    Int32Array.from({ length: SCORED_TOKENS }, (__, at) => (text * 31 + at * 17) % config.vocabSize),
  );
  await model.score(texts, { timeoutMs: TIMEOUT_MS });
  const rates: number[] = [];
  for (let round = 0; round < SCORE_ROUNDS; round++) {
    const startMs = performance.now();
    await model.score(texts, { timeoutMs: TIMEOUT_MS });
    rates.push(SCORED_TEXTS / ((performance.now() - startMs) / 1000));
  }
  return median(rates);
}

/** `ppo.step_seconds` with its breakdown, and `reward.scores_per_second`. */
export async function rows(): Promise<(BenchRow | SkippedRow)[]> {
  const skipped = withoutStories();
  if (skipped !== undefined) {
    return [{ name: "ppo.step_seconds", skipped }];
  }
  const measured = measureRun({
    stage: "please",
    warmSteps: WARM_STEPS,
    text: TEXT,
    runFile,
    files: { "pairs.jsonl": pairs(storyPrompts(readFileSync(TEXT, "utf8"))) },
  });
  return [
    { name: "ppo.step_seconds", value: measured.stepSeconds, unit: "s" },
    ...phaseRows("ppo", measured),
    { name: "reward.scores_per_second", value: await scoresPerSecond(), unit: "texts/s" },
  ];
}
