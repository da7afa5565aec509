/**
 * The weights of a model folder: one safetensors file, or several with an index. Names and shapes are checked against
 * the configuration before the flat array is allocated; tensors are cast and copied a few rows at a time.
 */
import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { OarlockError } from "@oarlock/errors";
import { type LlamaConfig, type Parameter, parameterLayout } from "@oarlock/nn";
import { openSafetensors, type SafetensorsReader, type TensorEntry } from "@oarlock/safetensors";
import { isFloating, toFloat32Array } from "@oarlock/tensor";
import { type FileSource, openFileSource } from "./file-source.ts";
import { isObject, parseObject } from "./json.ts";
import { flatArray, type LoadOptions } from "./model.ts";
import { readText } from "./text-file.ts";

const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";
const HEAD = "lm_head.weight";
const EMBEDDING = "model.embed_tokens.weight";
/** Elements that are read and cast at a time. */
const CHUNK_ELEMENTS = 4 * 1024 * 1024;

interface OpenTensor {
  readonly file: string;
  readonly reader: SafetensorsReader;
  readonly entry: TensorEntry;
}

/** The flat array of a folder's weights. Throws `MODEL_FILE` and `MODEL_WEIGHTS`, naming file and tensor. */
export async function readWeights(
  folder: string,
  config: LlamaConfig,
  options: LoadOptions = {},
): Promise<Float32Array> {
  const sources: FileSource[] = [];
  try {
    for (const name of await weightFiles(folder)) sources.push(await openFileSource(join(folder, name)));
    const tensors = await openTensors(sources, options.signal);
    const { parameters, length } = parameterLayout(config);
    checkTensors(parameters, tensors, config);
    const weights = flatArray(length, options.shared);
    await copyTensors(parameters, tensors, { ...options, weights });
    const head = tensors.get(HEAD);
    if (config.tiedEmbeddings && head !== undefined) {
      const embedding = parameters.find(({ name }) => name === EMBEDDING);
      const from = embedding?.offset ?? 0;
      await checkTiedHead(
        head,
        weights.subarray(from, from + (embedding?.size ?? 0)),
        config,
        options.signal,
      );
    }
    return weights;
  } finally {
    await Promise.all(sources.map((source) => source.close()));
  }
}

async function openTensors(
  sources: readonly FileSource[],
  signal?: AbortSignal,
): Promise<Map<string, OpenTensor>> {
  const tensors = new Map<string, OpenTensor>();
  for (const source of sources) {
    const file = basename(source.path);
    const reader = await openSafetensors(source, signal).catch((reason: unknown) => {
      // The format knows bytes, not names: the name is what a person looks for.
      if (!(reason instanceof OarlockError)) throw reason;
      throw new OarlockError("MODEL_WEIGHTS", `${source.path}: ${reason.rawMessage}`, { cause: reason });
    });
    for (const entry of reader.tensors.values()) {
      const held = tensors.get(entry.name);
      if (held !== undefined) {
        throw new OarlockError("MODEL_WEIGHTS", `tensor ${entry.name} is in ${held.file} and in ${file}`);
      }
      tensors.set(entry.name, { file, reader, entry });
    }
  }
  return tensors;
}

async function copyTensors(
  parameters: readonly Parameter[],
  tensors: ReadonlyMap<string, OpenTensor>,
  options: LoadOptions & { readonly weights: Float32Array },
): Promise<void> {
  const totalBytes = parameters.reduce((sum, { size }) => sum + 4 * size, 0);
  let doneBytes = 0;
  for (const { name, offset, size } of parameters) {
    const found = tensors.get(name);
    if (found === undefined) continue; // checked before
    await copyTensor(found, options.weights.subarray(offset, offset + size), options.signal);
    doneBytes += 4 * size;
    options.onProgress?.({ what: "load", file: found.file, doneBytes, totalBytes });
  }
}

async function copyTensor(
  { reader, entry }: OpenTensor,
  target: Float32Array,
  signal?: AbortSignal,
): Promise<void> {
  for await (const { first, values } of chunks({ reader, entry }, signal)) target.set(values, first);
}

// A tensor as float32, a few rows at a time; `first` counts elements.
async function* chunks(
  { reader, entry }: Pick<OpenTensor, "reader" | "entry">,
  signal?: AbortSignal,
): AsyncGenerator<{ readonly first: number; readonly values: Float32Array }> {
  const [rows = 1, ...others] = entry.shape;
  const rowElements = others.reduce((product, size) => product * size, 1);
  const step = Math.max(1, Math.floor(CHUNK_ELEMENTS / rowElements));
  for (let start = 0; start < rows; start += step) {
    signal?.throwIfAborted();
    const part = await reader.slice(entry.name, { start, end: Math.min(rows, start + step) }, signal);
    yield { first: start * rowElements, values: toFloat32Array(part) };
  }
}

/** A tied head is the embedding again. Of one that is not, transformers takes the head from 5 on, and took the embedding before. */
async function checkTiedHead(
  head: OpenTensor,
  embedding: Float32Array, // [V · D]
  { vocabSize, hiddenSize }: LlamaConfig,
  signal?: AbortSignal,
): Promise<void> {
  const refuse = (): never => {
    throw new OarlockError(
      "MODEL_WEIGHTS",
      `${head.file}: ${HEAD} is not ${EMBEDDING}, and config.json says tie_word_embeddings: true; ` +
        `accepted: equal tensors, or tie_word_embeddings: false`,
    );
  };
  if (head.entry.shape.join() !== [vocabSize, hiddenSize].join() || !isFloating(head.entry.dtype)) refuse();
  for await (const { first, values } of chunks(head, signal)) {
    if (values.some((value, i) => value !== embedding[first + i])) refuse();
  }
}

/** Names of the folder's weight files. */
async function weightFiles(folder: string): Promise<string[]> {
  if (existsSync(join(folder, SINGLE))) return [SINGLE];
  const index = join(folder, INDEX);
  const text = await readText(index);
  if (text === undefined) {
    throw new OarlockError(
      "MODEL_FILE",
      `${folder} has no weights; accepted: ${SINGLE}, or shards with ${INDEX}`,
    );
  }
  const map = parseObject(index, text)["weight_map"];
  if (!isObject(map)) throw new OarlockError("MODEL_FILE", `${index} has no weight_map`);
  const names = [...new Set(Object.values(map).map(String))].toSorted();
  const strange = names.find((name) => basename(name) !== name || !name.endsWith(".safetensors"));
  if (strange !== undefined) {
    throw new OarlockError(
      "MODEL_FILE",
      `${index} names ${JSON.stringify(strange)}; accepted: safetensors files beside it`,
    );
  }
  return names;
}

/** Every parameter once, in its shape; and nothing else that would change what the model computes. */
export function checkTensors(
  parameters: readonly Parameter[],
  tensors: ReadonlyMap<
    string,
    { readonly file: string; readonly entry: Pick<TensorEntry, "dtype" | "shape"> }
  >,
  config: LlamaConfig,
): void {
  for (const { name, shape } of parameters) {
    const found = tensors.get(name);
    if (found === undefined) throw new OarlockError("MODEL_WEIGHTS", `tensor ${name} is missing`);
    const { file, entry } = found;
    if (entry.shape.join() !== shape.join()) {
      throw new OarlockError(
        "MODEL_WEIGHTS",
        `${file}: tensor ${name} is [${entry.shape.join(", ")}]; accepted by the configuration: [${shape.join(", ")}]`,
      );
    }
    if (!isFloating(entry.dtype)) {
      throw new OarlockError(
        "MODEL_WEIGHTS",
        `${file}: tensor ${name} is ${entry.dtype}; accepted: float32, float64, float16, bfloat16`,
      );
    }
  }
  const known = new Set(parameters.map(({ name }) => name));
  for (const [name, { file }] of tensors) {
    // A tied head is the embedding again, and compared with it; inverse frequencies follow from the configuration.
    const redundant = name.endsWith(".rotary_emb.inv_freq") || (config.tiedEmbeddings && name === HEAD);
    if (known.has(name) || redundant) continue;
    throw new OarlockError(
      "MODEL_WEIGHTS",
      `${file}: tensor ${name} belongs to no model that the configuration describes`,
    );
  }
}
