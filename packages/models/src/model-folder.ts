/** Reads a model from a folder in Hugging Face layout. */
import { join } from "node:path";
import { OarlockError } from "@oarlock/errors";
import { bytesOf, sha256Hex } from "@oarlock/runtime";
import type { TokenizerFiles } from "@oarlock/tokenizer";
import { type JsonObject, parseObject } from "./json.ts";
import { readLlamaConfig, readSpecials } from "./llama-config.ts";
import type { LoadedModel, LoadOptions } from "./model.ts";
import { readWeights } from "./tensor-files.ts";
import { readText } from "./text-file.ts";

/** Throws `MODEL_FILE`, `MODEL_CONFIG` or `MODEL_WEIGHTS`, naming what is wrong and what is accepted. */
export async function loadModelFolder(folder: string, options: LoadOptions = {}): Promise<LoadedModel> {
  const configPath = join(folder, "config.json");
  const text = await readText(configPath);
  if (text === undefined) {
    throw new OarlockError("MODEL_FILE", `${folder} is no model: it has no config.json`);
  }
  const stated = parseObject(configPath, text);
  const config = readLlamaConfig(stated, configPath);
  const generation = await readGeneration(folder);
  const specials = readSpecials(folder, { config: stated, generation });
  const weights = await readWeights(folder, config, options);
  const tokenizer = options.tokenizer === undefined ? await readTokenizerFiles(folder) : undefined;
  return {
    config,
    weights,
    digest: sha256Hex(bytesOf(weights)),
    ...(tokenizer === undefined ? {} : { tokenizer }),
    specials,
    generation,
  };
}

/** The tokenizer of a folder; `undefined` where it has no `tokenizer.json`. */
export async function readTokenizerFiles(folder: string): Promise<TokenizerFiles | undefined> {
  const tokenizer = await readText(join(folder, "tokenizer.json"));
  if (tokenizer === undefined) return undefined;
  const config = (await readText(join(folder, "tokenizer_config.json"))) ?? "{}";
  const chatTemplate = await readText(join(folder, "chat_template.jinja"));
  return { tokenizer, config, ...(chatTemplate === undefined ? {} : { chatTemplate }) };
}

async function readGeneration(folder: string): Promise<JsonObject> {
  const path = join(folder, "generation_config.json");
  const text = await readText(path);
  return text === undefined ? {} : parseObject(path, text);
}
