/**
 * Writes a model as a folder in Hugging Face layout. The folder appears whole or not at all: everything is written and
 * synced beside it first, then renamed. A folder that is there and empty is filled in the same way.
 */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { OarlockError } from "@oarlock/errors";
import { type LlamaConfig, parameterLayout } from "@oarlock/nn";
import { planSafetensors } from "@oarlock/safetensors";
import { float32ToBfloat16, float32ToFloat16 } from "@oarlock/tensor";
import type { TokenizerFiles } from "@oarlock/tokenizer";
import type { JsonObject } from "./json.ts";
import { type SpecialTokens, writeLlamaConfig, writeSpecials } from "./llama-config.ts";
import { toHalfSplit } from "./rope-order.ts";

/** How weights are stored. Half precisions round. */
export type StoredDType = "float32" | "float16" | "bfloat16";

export interface ModelToSave {
  readonly config: LlamaConfig;
  /** One flat array by `parameterLayout(config)`. */
  readonly weights: Float32Array;
  readonly specials: SpecialTokens;
  readonly tokenizer?: TokenizerFiles;
  /** Further fields of `generation_config.json`, e.g. those that a loaded model had. */
  readonly generation?: JsonObject;
}

export interface SaveOptions {
  /** Default "float32". */
  readonly dtype?: StoredDType;
  readonly signal?: AbortSignal;
}

/**
 * Replaces `folder`. Throws `MODEL_WEIGHTS` where the array does not fit the configuration, `MODEL_WRITE` where the disk
 * refuses.
 */
export async function saveModel(
  folder: string,
  model: ModelToSave,
  options: SaveOptions = {},
): Promise<void> {
  try {
    await writeModel(folder, model, options);
  } catch (cause) {
    if (!(cause instanceof Error && "syscall" in cause)) throw cause;
    throw new OarlockError("MODEL_WRITE", `${folder} cannot be written: ${cause.message}`);
  }
}

async function writeModel(folder: string, model: ModelToSave, options: SaveOptions): Promise<void> {
  const { dtype = "float32", signal } = options;
  const { length } = parameterLayout(model.config);
  if (model.weights.length !== length) {
    throw new OarlockError(
      "MODEL_WEIGHTS",
      `${model.weights.length} weights; accepted by this configuration: ${length}`,
    );
  }
  const target = resolve(folder);
  await mkdir(dirname(target), { recursive: true });
  // A shell may stand in an empty folder, or a disk be mounted there: it stays, and is filled.
  const isEmpty = existsSync(target) && (await readdir(target)).length === 0;
  const draft = await mkdtemp(
    isEmpty ? join(target, ".draft-") : join(dirname(target), `.${basename(target)}-`),
  );
  try {
    const { config, weights } = toHalfSplit(model.config, model.weights);
    for (const [name, text] of textFiles({ ...model, config }, dtype)) {
      await writeSynced(join(draft, name), [new TextEncoder().encode(text)], signal);
    }
    await writeSynced(join(draft, "model.safetensors"), tensorChunks(config, weights, dtype), signal);
    await (isEmpty ? fillFolder(draft, target) : replaceFolder(draft, target));
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

function textFiles(model: ModelToSave, dtype: StoredDType): [string, string][] {
  const { config, specials, tokenizer, generation } = model;
  const json = (value: JsonObject): string => `${JSON.stringify(value, null, 2)}\n`;
  const files: [string, string][] = [
    ["config.json", json(writeLlamaConfig(config, specials, dtype))],
    ["generation_config.json", json({ ...generation, ...writeSpecials(specials) })],
  ];
  if (tokenizer === undefined) return files;
  files.push(["tokenizer.json", tokenizer.tokenizer], ["tokenizer_config.json", tokenizer.config]);
  if (tokenizer.chatTemplate !== undefined) files.push(["chat_template.jinja", tokenizer.chatTemplate]);
  return files;
}

const MAX_CHUNK_ELEMENTS = 16 * 1024 * 1024;

// The bytes of `model.safetensors`, in order, a few at a time.
function* tensorChunks(config: LlamaConfig, weights: Float32Array, dtype: StoredDType): Iterable<Uint8Array> {
  const { parameters } = parameterLayout(config);
  const plan = planSafetensors(
    parameters.map(({ name, shape }) => ({ name, dtype, shape })),
    { format: "pt" }, // transformers refuses files that do not say so
  );
  yield plan.header;
  const places = new Map(parameters.map((parameter) => [parameter.name, parameter]));
  for (const { name } of plan.entries) {
    const { offset, size } = places.get(name) ?? { offset: 0, size: 0 };
    for (let at = 0; at < size; at += MAX_CHUNK_ELEMENTS) {
      const part = weights.subarray(offset + at, offset + Math.min(size, at + MAX_CHUNK_ELEMENTS));
      const stored = casts[dtype](part);
      yield new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
    }
  }
}

const casts: { readonly [D in StoredDType]: (part: Float32Array) => Float32Array | Uint16Array } = {
  float32: (part) => part,
  float16: float32ToFloat16,
  bfloat16: float32ToBfloat16,
};

async function writeSynced(path: string, chunks: Iterable<Uint8Array>, signal?: AbortSignal): Promise<void> {
  const handle = await open(path, "wx");
  try {
    for (const chunk of chunks) {
      signal?.throwIfAborted();
      for (let done = 0; done < chunk.length;) {
        done += (await handle.write(chunk, done, chunk.length - done)).bytesWritten;
      }
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** What makes the folder a model comes last. */
async function fillFolder(draft: string, target: string): Promise<void> {
  const names = (await readdir(draft)).filter((name) => name !== "config.json");
  for (const name of [...names, "config.json"]) await rename(join(draft, name), join(target, name));
}

/** A folder cannot be renamed over another one: the old one steps aside first. */
async function replaceFolder(draft: string, target: string): Promise<void> {
  if (!existsSync(target)) return rename(draft, target);
  const aside = `${draft}-old`;
  await rename(target, aside);
  await rename(draft, target);
  await rm(aside, { recursive: true, force: true });
}
