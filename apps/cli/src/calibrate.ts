/**
 * Measures this machine for a time estimate: a few training passes and a few rounds of sampling with the run's own
 * shapes, on random weights. What it finds is printed and never enters a plan (D1).
 */
import { createGenerator } from "@oarlock/generation";
import { initialWeights } from "@oarlock/nn";
import type { OpenOrtOptions } from "@oarlock/ort";
import { initialNormals } from "@oarlock/rl";
import { type Calibration, passOf, type ResolvedRun, type ResolvedStage, rolloutsOf } from "@oarlock/runfile";
import { createTrainer, type StepOptions, type TrainingRow } from "@oarlock/training";

/** Time that each of the two measurements may take; at least one round is measured. */
const BUDGET_MS = 2_000;
/** Most tokens sampled per sequence in a round: rates settle long before real lengths are reached. */
const ROUND_TOKENS = 64;
const MAX_PROMPT_TOKENS = 256;

/** Rates for the last stage, usually the longest. One actor is measured: several share the same cores. */
export async function calibrate(run: ResolvedRun): Promise<Calibration> {
  const config = run.inputs.model.shape;
  const { provider, driver, libraryPath, optimizationLevel } = run.spec.compute;
  const library = libraryPath === "" ? {} : { library: libraryPath };
  const ort: OpenOrtOptions = { provider, driver, optimization: optimizationLevel, ...library };
  const weights = initialWeights(config, (count, index) => initialNormals(0, index, count));
  const measured = { run, ort, weights };
  const trainTokensPerSecond = await measureTraining(measured);
  const generateTokensPerSecond = await measureGeneration(measured);
  return { trainTokensPerSecond, generateTokensPerSecond };
}

interface Measured {
  readonly run: ResolvedRun;
  readonly ort: OpenOrtOptions;
  readonly weights: Float32Array;
}

async function measureTraining({ run, ort, weights }: Measured): Promise<number> {
  const { trainingThreads } = run.spec.compute;
  const config = run.inputs.model.shape;
  await using trainer = await createTrainer({ config, weights, ort: { ...ort, threads: trainingThreads } });
  const { sequences, length } = longestPass(run.spec.stages.at(-1), config.maxPositions);
  const rows = Array.from({ length: sequences }, (_, row) => randomRow(row, length, config.vocabSize));
  const options: StepOptions = {
    objective: { type: "sft" },
    aggregation: "token-mean-global",
    optimizer: { learningRate: 0 },
    microBatchSize: sequences,
  };
  return await rateOf(async () => {
    await trainer.step(rows, options);
    return sequences * length;
  });
}

async function measureGeneration({ run, ort, weights }: Measured): Promise<number> {
  const { slots, generationWorkers, generationThreads, generationLayout } = run.spec.compute;
  const config = run.inputs.model.shape;
  const { samples, promptLength, maxNewTokens } = sampledBy(run);
  const prompts = Math.max(1, Math.round(slots / samples));
  const generator = await createGenerator({
    config,
    slots,
    maxLength: promptLength + maxNewTokens,
    workers: generationWorkers,
    threads: generationThreads,
    layout: generationLayout,
    ort,
  });
  try {
    await generator.load(weights, { number: 0, digest: "calibration" });
    const prompt = new Int32Array(promptLength).fill(1);
    const params = { temperature: 1, topK: 0, topP: 1, maxNewTokens, stopTokens: [] };
    let round = 0;
    return await rateOf(async () => {
      const key = { seed: 0, purpose: "rollout" as const, stage: 0, step: round++, draw: 0 };
      const submit = (group: number): Promise<unknown> =>
        generator.submit({
          id: `calibration-${round}-${group}`,
          prompt,
          samples: Array.from({ length: samples }, (_, sample) => ({ ...key, group, sample })),
          params,
        });
      await Promise.all(Array.from({ length: prompts }, (_, group) => submit(group)));
      return prompts * samples * maxNewTokens;
    });
  } finally {
    await generator.close();
  }
}

interface Sampled {
  /** Of one prompt. */
  readonly samples: number;
  readonly promptLength: number;
  readonly maxNewTokens: number;
}

/** As the last stage that samples does, else the evaluation: with few new tokens, reading prompts is most of the work. */
function sampledBy({ spec, inputs }: ResolvedRun): Sampled {
  const stage = spec.stages.map(rolloutsOf).findLast((one) => one !== undefined);
  const ofStage = stage && { ...stage, ...stage.sampling, samples: stage.groupSize };
  const wanted = ofStage ?? spec.evaluation ?? { samples: 1, maxPromptLength: 16, maxNewTokens: 1 };
  const { maxPositions } = inputs.model.shape;
  const promptLength = Math.max(1, Math.min(wanted.maxPromptLength, MAX_PROMPT_TOKENS, maxPositions - 1));
  const maxNewTokens = Math.max(1, Math.min(wanted.maxNewTokens, ROUND_TOKENS, maxPositions - promptLength));
  return { samples: wanted.samples, promptLength, maxNewTokens };
}

/** Work per second: one warm-up round, then rounds until the budget is spent. */
async function rateOf(round: () => Promise<number>): Promise<number> {
  await round();
  const startedMs = performance.now();
  let work = 0;
  do work += await round();
  while (performance.now() - startedMs < BUDGET_MS);
  return work / ((performance.now() - startedMs) / 1000);
}

function longestPass(
  stage: ResolvedStage | undefined,
  maxPositions: number,
): { sequences: number; length: number } {
  if (stage === undefined) return { sequences: 1, length: maxPositions };
  const { sequences, length } = passOf(stage);
  return { sequences, length: Math.min(maxPositions, length) };
}

/** Any tokens do: time does not depend on them. */
function randomRow(row: number, length: number, vocabSize: number): TrainingRow {
  const tokens = Int32Array.from({ length }, (_, at) => (row * 31 + at * 17) % vocabSize);
  return { tokens, promptLength: 1, lossMask: new Uint8Array(length).fill(1, 1) };
}
