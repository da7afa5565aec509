/**
 * Checkpoints of llama2.c, version 0: seven integers, then every matrix of all layers in turn, float32, with interleaved
 * RoPE. https://github.com/karpathy/llama2.c (export.py, `legacy_export`).
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { OarlockError } from "@oarlock/errors";
import { checkConfig, type LlamaConfig } from "@oarlock/nn";
import { bytesOf, sha256Hex } from "@oarlock/runtime";
import type { ByteSource } from "@oarlock/safetensors";
import type { TokenizerFiles } from "@oarlock/tokenizer";
import { openFileSource } from "./file-source.ts";
import { flatWriter } from "./flat-writer.ts";
import { LIMITS } from "./llama-config.ts";
import type { LoadedModel, LoadOptions } from "./model.ts";
import { toHalfSplitRows } from "./rope-order.ts";
import { readLlama2cTokenizer } from "./llama2c-tokenizer.ts";

const HEADER_BYTES = 28;
/** Ids that llama2.c's tokenizers give to <s> and </s>. */
const SPECIALS = { bosTokenId: 1, padTokenId: 0, eosTokenIds: [2] } as const;

/** A stretch of the file: one matrix of one layer, or one that all layers share. */
interface Stretch {
  readonly name: string;
  readonly elements: number;
  /** Rows are heads in interleaved order. */
  readonly rotated?: boolean;
  /** In the file, but not of the model: the RoPE tables. */
  readonly skipped?: boolean;
}

/**
 * Reads a checkpoint and the tokenizer beside it (`tok<vocabulary>.bin` or `tokenizer.bin`, where one is there).
 * Throws `MODEL_LLAMA2C` where the sizes in its head do not make the size of the file.
 */
export async function loadLlama2c(path: string, options: LoadOptions = {}): Promise<LoadedModel> {
  const source = await openFileSource(path);
  try {
    const config = await readHead(source, path);
    const weights = await readStretches(source, config, { ...options, path });
    const tokenizer =
      options.tokenizer === undefined ? await findTokenizer(path, config.vocabSize) : undefined;
    return {
      config,
      weights,
      digest: sha256Hex(bytesOf(weights)),
      ...(tokenizer === undefined ? {} : { tokenizer }),
      specials: SPECIALS,
      generation: {},
    };
  } finally {
    await source.close();
  }
}

async function readHead(source: ByteSource, path: string): Promise<LlamaConfig> {
  const refuse = (why: string): never => {
    throw new OarlockError("MODEL_LLAMA2C", `${path} is no llama2.c checkpoint: ${why}`);
  };
  if (source.sizeBytes < HEADER_BYTES) refuse(`it has ${source.sizeBytes} bytes`);
  const head = new DataView(new ArrayBuffer(HEADER_BYTES));
  await source.read(new Uint8Array(head.buffer), 0);
  const integer = (index: number, name: string, max: number): number => {
    const value = head.getInt32(4 * index, true);
    return value >= 1 && value <= max ? value : refuse(`its ${name} is ${value}; accepted: 1 to ${max}`);
  };
  const hiddenSize = integer(0, "dim", LIMITS.width);
  const heads = integer(3, "number of heads", LIMITS.heads);
  const vocabulary = head.getInt32(20, true);
  if (vocabulary === 0 || Math.abs(vocabulary) > LIMITS.vocabSize) refuse(`its vocabulary is ${vocabulary}`);
  const config = checkConfig({
    vocabSize: Math.abs(vocabulary),
    hiddenSize,
    intermediateSize: integer(1, "hidden dim", LIMITS.width),
    layers: integer(2, "number of layers", LIMITS.layers),
    heads,
    kvHeads: integer(4, "number of key-value heads", heads),
    headSize: hiddenSize / heads,
    ropeTheta: 10_000,
    ropeConvention: "half-split",
    rmsNormEps: 1e-5,
    maxPositions: integer(6, "sequence length", LIMITS.positions),
    tiedEmbeddings: vocabulary > 0,
    qkvBias: false,
    qkNorm: false,
  });
  const elements = stretches(config).reduce((sum, stretch) => sum + stretch.elements, 0);
  const expected = HEADER_BYTES + 4 * elements;
  if (source.sizeBytes !== expected) {
    refuse(`its head describes ${expected} bytes, it has ${source.sizeBytes}`);
  }
  return config;
}

function stretches(config: LlamaConfig): Stretch[] {
  const { vocabSize: V, hiddenSize: D, intermediateSize: F, headSize: S } = config;
  const [Q, K] = [config.heads * S, config.kvHeads * S];
  const each = (part: string, elements: number, rotated = false): Stretch[] =>
    Array.from({ length: config.layers }, (_, layer) => ({
      name: `model.layers.${layer}.${part}.weight`,
      elements,
      rotated,
    }));
  return [
    { name: "model.embed_tokens.weight", elements: V * D },
    ...each("input_layernorm", D),
    ...each("self_attn.q_proj", Q * D, true),
    ...each("self_attn.k_proj", K * D, true),
    ...each("self_attn.v_proj", K * D),
    ...each("self_attn.o_proj", D * Q),
    ...each("post_attention_layernorm", D),
    ...each("mlp.gate_proj", F * D),
    ...each("mlp.down_proj", D * F),
    ...each("mlp.up_proj", F * D),
    { name: "model.norm.weight", elements: D },
    { name: "rotary tables", elements: config.maxPositions * S, skipped: true },
    ...(config.tiedEmbeddings ? [] : [{ name: "lm_head.weight", elements: V * D }]),
  ];
}

async function readStretches(
  source: ByteSource,
  config: LlamaConfig,
  options: LoadOptions & { readonly path: string },
): Promise<Float32Array> {
  const writer = flatWriter(config, options.shared);
  let at = HEADER_BYTES;
  for (const { name, elements, rotated, skipped } of stretches(config)) {
    if (skipped !== true) {
      const part = new Float32Array(elements);
      await source.read(new Uint8Array(part.buffer), at, options.signal);
      if (rotated === true) toHalfSplitRows(part, config.headSize, config.hiddenSize);
      writer.place(name).set(part);
    }
    at += 4 * elements;
    options.onProgress?.({ what: "load", file: options.path, doneBytes: at, totalBytes: source.sizeBytes });
  }
  return writer.weights;
}

async function findTokenizer(path: string, vocabSize: number): Promise<TokenizerFiles | undefined> {
  const names = [`tok${vocabSize}.bin`, "tokenizer.bin"];
  const found = names.map((name) => join(dirname(path), name)).find((candidate) => existsSync(candidate));
  if (found === undefined) return undefined;
  return readLlama2cTokenizer(await readFile(found), { file: found, vocabSize });
}
