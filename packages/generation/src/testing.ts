/** Small seeded models and requests for this package's tests. Not part of its interface. */
import { initialWeights, type LlamaConfig } from "@oarlock/nn";
import { initialNormals, type SampleKey } from "@oarlock/rl";
import { type LackingOperator, lackingOperators, type OrtRuntime } from "@oarlock/ort";
import { Batcher } from "./batcher.ts";
import { DecodeEngine } from "./engine.ts";
import type { Completion, GenerationRequest, SamplingParams, WeightLayout } from "./types.ts";

/** Grouped heads of a size that needs padding, rotary pairs side by side: the conventions of llama2.c checkpoints. */
export const tinyConfig: LlamaConfig = {
  vocabSize: 50,
  hiddenSize: 24,
  intermediateSize: 40,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headSize: 6,
  ropeTheta: 10_000,
  ropeConvention: "interleaved",
  rmsNormEps: 1e-5,
  maxPositions: 96,
  tiedEmbeddings: true,
  qkvBias: false,
  qkNorm: false,
};

/** Weights from a seed; norms and biases too, so that none of them is without effect. */
export function seededWeights(config: LlamaConfig, seed = 1): Float32Array {
  const weights = initialWeights(config, (count, index) => initialNormals(seed, index, count));
  const spread = initialNormals(seed, 1_000_000, weights.length);
  return weights.map((weight, i) =>
    weight === 0 || weight === 1 ? weight + 0.2 * (spread[i] ?? 0) : weight,
  );
}

export function sampleKey(group: number, sample: number): SampleKey {
  return { seed: 7, purpose: "rollout", stage: 0, step: 0, group, draw: 0, sample };
}

export const plainSampling: SamplingParams = {
  temperature: 1,
  topK: 0,
  topP: 1,
  maxNewTokens: 8,
  stopTokens: [],
};

/** A request with a prompt of `length` tokens that depends on `group`. */
export function seededRequest(options: {
  config: LlamaConfig;
  group: number;
  length: number;
  samples: number;
  params?: Partial<SamplingParams>;
}): GenerationRequest {
  const { config, group, length, samples, params } = options;
  return {
    id: `group ${group}`,
    prompt: Int32Array.from({ length }, (_, t) => (group * 31 + t * 17 + 3) % config.vocabSize),
    samples: Array.from({ length: samples }, (_, sample) => sampleKey(group, sample)),
    params: { ...plainSampling, ...params },
  };
}

/** One engine and what it is to do. */
export interface Setup {
  readonly config: LlamaConfig;
  readonly weights: Float32Array;
  readonly layout?: WeightLayout;
  readonly threads?: number;
  readonly slots?: number;
  /** Default: the model's positions. */
  readonly maxLength?: number;
  readonly engine: OrtRuntime;
  readonly without?: readonly LackingOperator[];
}

export type Results = Map<string, readonly Completion[]>;

/** By request, in the order of their names. */
export const tokensOf = (results: Results): number[][][] =>
  [...results]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, completions]) => completions.map(({ tokens }) => [...tokens]));

/** Runs requests to their end on this thread. */
export async function runToEnd(setup: Setup, requests: readonly GenerationRequest[]): Promise<Results> {
  const { config, weights, layout = "inputs", threads = 1, slots = 8 } = setup;
  const { engine: ort, maxLength = config.maxPositions, without = lackingOperators(ort.provider) } = setup;
  const engine = new DecodeEngine({
    ort,
    config,
    layout,
    threads,
    slots,
    maxLength,
    without,
  });
  const results = new Map<string, readonly Completion[]>();
  const batcher = new Batcher({
    engine,
    vocabulary: config.vocabSize,
    slots,
    maxWaiting: 1000,
    handlers: {
      completed: (id, completions) => results.set(id, completions),
      failed: (_, reason) => {
        throw reason;
      },
    },
  });
  batcher.barrier("weights", async () => {
    await engine.load(weights);
    return { number: 3, digest: "d" };
  });
  for (const request of requests) batcher.submit(request);
  while (batcher.busy) await batcher.tick();
  await engine.close();
  return results;
}
