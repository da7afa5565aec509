/**
 * The model of a run: opened from files or the hub, or made new from the seed. Weights are read when they are asked
 * for: a plan needs the shape and the digests alone.
 */
import { OarlockError } from "@oarlock/errors";
import { initialWeights, type LlamaConfig } from "@oarlock/nn";
import { initialNormals } from "@oarlock/rl";
import { initShape, type ResolvedModel, type ResolvedModelInit } from "@oarlock/runfile";
import { characterTokenizer, createTokenizer, type Tokenizer, type TokenizerFiles } from "@oarlock/tokenizer";
import { readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";

export interface OpenedModel {
  readonly config: LlamaConfig;
  readonly tokenizer: Tokenizer;
  readonly tokenizerFiles: TokenizerFiles;
  /** SHA-256 of the initial weights as files; "" for a new model. */
  readonly digest: string;
  /** Tokens that end a completion. */
  readonly stopTokens: readonly number[];
  /** All weights, flat, in nn's layout. */
  weights(): Promise<Float32Array>;
}

export interface OpenModelOptions {
  /** Relative paths are relative to this folder. */
  readonly baseDir: string;
  /** Seed of a new model. */
  readonly seed: number;
  readonly signal?: AbortSignal;
}

/** Opens what a run file's `model` names. */
export async function openModel(model: ResolvedModel, options: OpenModelOptions): Promise<OpenedModel> {
  return "init" in model ? newModel(model.init, options) : storedModel(model.from, options);
}

async function newModel(init: ResolvedModelInit, { baseDir, seed }: OpenModelOptions): Promise<OpenedModel> {
  const { tokenizer: spec } = init;
  const tokenizerFiles =
    spec.type === "characters"
      ? characterTokenizer(spec.characters)
      : await readTokenizer(resolve(baseDir, spec.file.path));
  const tokenizer = createTokenizer(tokenizerFiles);
  const config = initShape(init, tokenizer.vocabSize);
  return {
    config,
    tokenizer,
    tokenizerFiles,
    digest: "",
    stopTokens: tokenizer.eosTokenId === undefined ? [] : [tokenizer.eosTokenId],
    weights: async () => initialWeights(config, (count, index) => initialNormals(seed, index, count)),
  };
}

async function readTokenizer(path: string): Promise<TokenizerFiles> {
  const tokenizer = await readFile(path, "utf8").catch((cause: unknown) => {
    throw new OarlockError("TOKENIZER_MISSING", `${path}: cannot be read; expected a tokenizer.json`, {
      cause,
    });
  });
  const config = await readFile(join(dirname(path), "tokenizer_config.json"), "utf8").catch(() => "{}");
  return { tokenizer, config };
}

async function storedModel(from: string, _options: OpenModelOptions): Promise<OpenedModel> {
  throw new OarlockError("MODEL_UNSUPPORTED", `${from}: models from files are not wired up yet`);
}
