/** Reads a model from a GGUF file: weights dequantised to float32, q and k put into half-split order. */
import { dirname } from "node:path";
import { OarlockError } from "@oarlock/errors";
import { checkConfig, type LlamaConfig, parameterLayout } from "@oarlock/nn";
import { bytesOf, sha256Hex } from "@oarlock/runtime";
import type { ByteSource } from "@oarlock/safetensors";
import { openFileSource } from "../file-source.ts";
import { flatWriter } from "../flat-writer.ts";
import { fieldReader, type JsonObject } from "../json.ts";
import { LIMITS, type SpecialTokens } from "../llama-config.ts";
import { readTokenizerFiles } from "../model-folder.ts";
import type { LoadedModel, LoadOptions } from "../model.ts";
import { toHalfSplitRows } from "../rope-order.ts";
import { checkTensors } from "../tensor-files.ts";
import { dequantize } from "./dequantize.ts";
import { type GgufTensor, readGgufHeader } from "./header.ts";
import { parameterName } from "./names.ts";
import { ggufTokenizer } from "./tokenizer.ts";

/** Bytes that are read and dequantised at a time. */
const CHUNK_BYTES = 8 * 1024 * 1024;

/** A `tokenizer.json` beside the file wins over the vocabulary inside. Throws `MODEL_GGUF` and `MODEL_WEIGHTS`. */
export async function loadGguf(path: string, options: LoadOptions = {}): Promise<LoadedModel> {
  const source = await openFileSource(path);
  try {
    const { metadata, tensors } = await readGgufHeader(path, source.sizeBytes);
    const byName = renamed(tensors, path);
    const config = readConfig(metadata, byName, path);
    checkAll(byName, config, path);
    const weights = await readTensors(source, byName, { ...options, config, path, metadata });
    const replaced = options.tokenizer !== undefined; // then a vocabulary that is not read here is no obstacle
    const tokenizer = replaced
      ? undefined
      : ((await readTokenizerFiles(dirname(path))) ?? ggufTokenizer(metadata, path));
    return {
      config,
      weights,
      digest: sha256Hex(bytesOf(weights)),
      ...(tokenizer === undefined ? {} : { tokenizer }),
      specials: readSpecialIds(metadata),
      generation: {},
    };
  } finally {
    await source.close();
  }
}

function renamed(tensors: readonly GgufTensor[], path: string): Map<string, GgufTensor> {
  return new Map(
    tensors.map((tensor) => {
      const name = parameterName(tensor.name);
      if (name !== undefined) return [name, tensor];
      throw new OarlockError(
        "MODEL_GGUF",
        `${path}: tensor ${tensor.name} belongs to no model of the Llama family`,
      );
    }),
  );
}

/** Families whose converter put q and k into interleaved order. */
const INTERLEAVED = "llama";

function readConfig(
  metadata: JsonObject,
  tensors: ReadonlyMap<string, GgufTensor>,
  path: string,
): LlamaConfig {
  const fields = fieldReader(path, metadata, "MODEL_GGUF");
  const family = metadata["general.architecture"];
  if (family !== "llama" && family !== "qwen2" && family !== "qwen3") {
    return fields.refuse("general.architecture", family, "llama, qwen2, qwen3");
  }
  const scaling = metadata[`${family}.rope.scaling.type`] ?? "none";
  if (scaling !== "none") fields.refuse(`${family}.rope.scaling.type`, scaling, '"none"');
  const whole = (field: string, max: number, fallback?: number): number =>
    fields.number(`${family}.${field}`, {
      min: 1,
      max,
      ...(fallback === undefined ? {} : { default: fallback }),
    });
  const real = (field: string, fallback: number): number =>
    fields.number(`${family}.${field}`, { min: 0, max: 1e12, whole: false, default: fallback });
  const hiddenSize = whole("embedding_length", LIMITS.width);
  const heads = whole("attention.head_count", LIMITS.heads);
  const headSize = whole("attention.key_length", LIMITS.width, hiddenSize / heads);
  const rotated = whole("rope.dimension_count", LIMITS.width, headSize);
  if (rotated !== headSize)
    fields.refuse(`${family}.rope.dimension_count`, rotated, `the head size ${headSize}`);
  return checkConfig({
    vocabSize: tensors.get("model.embed_tokens.weight")?.shape[0] ?? whole("vocab_size", LIMITS.vocabSize),
    hiddenSize,
    intermediateSize: whole("feed_forward_length", LIMITS.width),
    layers: whole("block_count", LIMITS.layers),
    heads,
    kvHeads: whole("attention.head_count_kv", heads, heads),
    headSize,
    ropeTheta: real("rope.freq_base", 10_000),
    ropeConvention: "half-split",
    rmsNormEps: real("attention.layer_norm_rms_epsilon", 1e-5),
    maxPositions: whole("context_length", LIMITS.positions),
    tiedEmbeddings: !tensors.has("lm_head.weight"),
    qkvBias: tensors.has("model.layers.0.self_attn.q_proj.bias"),
    qkNorm: tensors.has("model.layers.0.self_attn.q_norm.weight"),
  });
}

function checkAll(tensors: ReadonlyMap<string, GgufTensor>, config: LlamaConfig, path: string): void {
  const { parameters } = parameterLayout(config);
  const held = [...tensors].map(
    ([name, { shape }]) => [name, { file: path, entry: { dtype: "float32", shape } }] as const,
  );
  checkTensors(parameters, new Map(held), config);
}

interface ReadOptions extends LoadOptions {
  readonly config: LlamaConfig;
  readonly path: string;
  readonly metadata: JsonObject;
}

async function readTensors(
  source: ByteSource,
  tensors: ReadonlyMap<string, GgufTensor>,
  { config, path, metadata, ...options }: ReadOptions,
): Promise<Float32Array> {
  const writer = flatWriter(config, options.shared);
  const interleaved = metadata["general.architecture"] === INTERLEAVED;
  const totalBytes = [...tensors.values()].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  let doneBytes = 0;
  for (const [name, tensor] of tensors) {
    const target = writer.place(name);
    await readTensor(source, tensor, target, options.signal);
    if (interleaved && /\.(q|k)_proj\./.test(name)) {
      toHalfSplitRows(target, config.headSize, tensor.shape[1] ?? 1);
    }
    doneBytes += tensor.sizeBytes;
    options.onProgress?.({ what: "load", file: path, doneBytes, totalBytes });
  }
  return writer.weights;
}

async function readTensor(
  source: ByteSource,
  { type, shape, offsetBytes, sizeBytes }: GgufTensor,
  target: Float32Array,
  signal?: AbortSignal,
): Promise<void> {
  const rows = shape.length > 1 ? (shape[0] ?? 1) : 1;
  const [rowBytes, rowElements] = [sizeBytes / rows, target.length / rows];
  const step = Math.max(1, Math.floor(CHUNK_BYTES / rowBytes));
  for (let row = 0; row < rows; row += step) {
    signal?.throwIfAborted();
    const end = Math.min(rows, row + step);
    const bytes = new Uint8Array((end - row) * rowBytes);
    await source.read(bytes, offsetBytes + row * rowBytes, signal);
    dequantize(type, bytes, target.subarray(row * rowElements, end * rowElements));
  }
}

function readSpecialIds(metadata: JsonObject): SpecialTokens {
  const id = (field: string): number | undefined => {
    const value = metadata[`tokenizer.ggml.${field}`];
    return Number.isSafeInteger(value) ? Number(value) : undefined;
  };
  const [bos, pad] = [id("bos_token_id"), id("padding_token_id")];
  const ends = [id("eos_token_id"), id("eot_token_id")].filter((value) => value !== undefined);
  return {
    ...(bos === undefined ? {} : { bosTokenId: bos }),
    ...(pad === undefined ? {} : { padTokenId: pad }),
    eosTokenIds: [...new Set(ends)],
  };
}
