/** Small seeded models and requests for this package's tests. Not part of its interface. */
import { initialWeights, type LlamaConfig } from "@oarlock/nn";
import { initialNormals, type SampleKey } from "@oarlock/rl";
import type { GenerationRequest, SamplingParams } from "./types.ts";

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
