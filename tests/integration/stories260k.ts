/** Karpathy's stories260K for tests: the llama2.c file as a configuration and a flat weight array, and its golden values. */
import { readFileSync } from "node:fs";
import { type LlamaConfig, parameterLayout } from "@oarlock/nn";
import { requireFile, type WantedFile } from "@oarlock/testkit";

export const storiesFile: WantedFile = requireFile("models", "../shared/models/stories260K/stories260K.bin");
export const goldenFile: WantedFile = requireFile("models", "../shared/models/stories260K/golden.json");

export interface StoriesGolden {
  readonly greedy_from_bos_64: readonly number[];
  readonly prompt_ids: readonly number[];
  readonly prompt_token_logprobs: readonly number[];
}

export function readGolden(): StoriesGolden {
  return JSON.parse(readFileSync(goldenFile.path, "utf8")) as StoriesGolden; // a fixture of known form
}

/** By the description of the format: 7 int32 of sizes, then the tensors in one order, layers stacked. */
export function readStories260k(): { config: LlamaConfig; weights: Float32Array } {
  const file = readFileSync(storiesFile.path);
  const buffer = file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength);
  const [dim = 0, hidden = 0, layers = 0, heads = 0, kvHeads = 0, vocab = 0, positions = 0] = new Int32Array(
    buffer,
    0,
    7,
  );
  const config: LlamaConfig = {
    vocabSize: vocab,
    hiddenSize: dim,
    intermediateSize: hidden,
    layers,
    heads,
    kvHeads,
    headSize: dim / heads,
    ropeTheta: 10_000,
    ropeConvention: "interleaved",
    rmsNormEps: 1e-5,
    maxPositions: positions,
    tiedEmbeddings: true,
    qkvBias: false,
    qkNorm: false,
  };
  const data = new Float32Array(buffer, 28);
  const { parameters, length } = parameterLayout(config);
  const weights = new Float32Array(length);
  let at = 0;
  const take = (name: string): void => {
    const parameter = parameters.find((candidate) => candidate.name === name)!;
    weights.set(data.subarray(at, at + parameter.size), parameter.offset);
    at += parameter.size;
  };
  const stacked = [
    "input_layernorm",
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "post_attention_layernorm",
    "mlp.gate_proj",
    "mlp.down_proj",
    "mlp.up_proj",
  ];
  take("model.embed_tokens.weight");
  for (const name of stacked)
    for (let layer = 0; layer < layers; layer++) take(`model.layers.${layer}.${name}.weight`);
  take("model.norm.weight");
  return { config, weights };
}
