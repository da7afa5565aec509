/**
 * Tokens per second of the generation engine, on the shape that the peers' loop was timed on: stories260K's network,
 * 64 sequences of 48 new tokens. Weights come from a seed, so no checkpoint is needed; speed does not depend on them.
 */
import { createGenerator, type GeneratorOptions, type GenerationRequest } from "@oarlock/generation";
import { initialWeights, type LlamaConfig } from "@oarlock/nn";
import { initialNormals } from "@oarlock/rl";
import { type BenchRow, median } from "./row.ts";

const stories260k: LlamaConfig = {
  vocabSize: 512,
  hiddenSize: 64,
  intermediateSize: 172,
  layers: 5,
  heads: 8,
  kvHeads: 4,
  headSize: 8,
  ropeTheta: 10_000,
  ropeConvention: "interleaved",
  rmsNormEps: 1e-5,
  maxPositions: 512,
  tiedEmbeddings: true,
  qkvBias: false,
  qkNorm: false,
};

/** The hand-tuned PyTorch loop with a key-value cache, measured on 2 cores of this kind (../shared/peers). */
const PYTORCH_LOOP_TOKENS_PER_SECOND = 9_700;
const PROMPTS = 8;
const SAMPLES = 8;
const NEW_TOKENS = 48;
const PROMPT_TOKENS = 16;
const ROUNDS = 9;

function requests(lengthOf: (prompt: number) => number): GenerationRequest[] {
  return Array.from({ length: PROMPTS }, (_, group) => ({
    id: `prompt ${group}`,
    prompt: Int32Array.from({ length: PROMPT_TOKENS }, (__, t) => 3 + ((group * 31 + t * 7) % 500)),
    samples: Array.from({ length: SAMPLES }, (__, sample) => ({
      seed: 1,
      purpose: "rollout" as const,
      stage: 0,
      step: 0,
      group,
      draw: 0,
      sample,
    })),
    params: { temperature: 1, topK: 0, topP: 1, maxNewTokens: lengthOf(group), stopTokens: [] },
  }));
}

/** Median tokens per second of each variant; the variants take turns, so that a busy moment hits all of them. */
async function tokensPerSecond(variants: readonly Partial<GeneratorOptions>[]): Promise<number[]> {
  const weights = initialWeights(stories260k, (count, index) => initialNormals(1, index, count));
  const generators = await Promise.all(
    variants.map((options) => createGenerator({ config: stories260k, ...options })),
  );
  const rates: number[][] = variants.map(() => []);
  try {
    for (const generator of generators) await generator.load(weights, { number: 0, digest: "benchmark" });
    for (let round = 0; round < ROUNDS; round++) {
      for (const [i, generator] of generators.entries()) {
        const start = performance.now();
        await Promise.all(requests(() => NEW_TOKENS).map((request) => generator.submit(request)));
        rates[i]?.push((PROMPTS * SAMPLES * NEW_TOKENS * 1000) / (performance.now() - start));
      }
    }
  } finally {
    await Promise.all(generators.map((generator) => generator.close()));
  }
  return rates.map((rate) => median(rate.slice(1))); // the first round warms up
}

/** Occupancy in a run whose lengths spread 10 : 1, the emptying at its end included. */
async function occupancy(): Promise<number> {
  const generator = await createGenerator({ config: stories260k, slots: 16 });
  try {
    await generator.load(
      initialWeights(stories260k, (count, index) => initialNormals(1, index, count)),
      {
        number: 0,
        digest: "benchmark",
      },
    );
    const rounds = Array.from({ length: 8 }, (_, round) =>
      requests((group) => 12 + ((group * 5 + round * 3) % 10) * 12).map((request) => ({
        ...request,
        id: `${request.id} of ${round}`,
      })),
    );
    await Promise.all(rounds.flat().map((request) => generator.submit(request)));
    return (await generator.stats()).occupancy;
  } finally {
    await generator.close();
  }
}

export async function rows(): Promise<BenchRow[]> {
  const [two = 0, one = 0, prepacked = 0] = await tokensPerSecond([
    { workers: 2 },
    { workers: 1 },
    { workers: 2, layout: "initializers" },
  ]);
  const unit = "tokens/s";
  const loop = "PyTorch loop, 9,700 tokens/s";
  return [
    {
      name: "generate.tokens_per_second",
      value: two,
      unit,
      relative_to: loop,
      ratio: two / PYTORCH_LOOP_TOKENS_PER_SECOND,
    },
    { name: "generate.one_worker", value: one, unit, relative_to: "two workers", ratio: one / two },
    {
      name: "generate.prepacked_weights",
      value: prepacked,
      unit,
      relative_to: "weights as inputs",
      ratio: prepacked / two,
    },
    { name: "generate.occupancy", value: await occupancy(), unit: "of slots" },
  ];
}
