/** The model that a run starts from: new from the seed (D2), or from files. One shape for both. */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { OarlockError } from "@oarlock/errors";
import { initialWeights } from "@oarlock/nn";
import type { LlamaConfig } from "@oarlock/nn";
import { initialNormals } from "@oarlock/rl";
import type { ResolvedModelInit, ResolvedRun } from "@oarlock/runfile";
import { characterTokenizer, createTokenizer } from "@oarlock/tokenizer";
import type { Tokenizer, TokenizerFiles } from "@oarlock/tokenizer";

export interface InitialModel {
  readonly config: LlamaConfig;
  /** Flat, in nn's parameter layout. */
  readonly weights: Float32Array;
  readonly tokenizer: Tokenizer;
  /** Written beside the final weights. */
  readonly tokenizerFiles: TokenizerFiles;
  /** Tokens that end a completion. */
  readonly stopTokens: readonly number[];
}

/** The initial model of `run`; relative paths are relative to `baseDir`. */
export async function openModel(run: ResolvedRun, baseDir: string): Promise<InitialModel> {
  const { model } = run.spec;
  if ("init" in model) return newModel(run, model.init, baseDir);
  throw new OarlockError("MODEL_FROM", `model.from: ${model.from}`);
}

async function newModel(run: ResolvedRun, init: ResolvedModelInit, baseDir: string): Promise<InitialModel> {
  const config: LlamaConfig = run.inputs.model.shape;
  const tokenizerFiles = await tokenizerOf(init, baseDir);
  const tokenizer = createTokenizer(tokenizerFiles);
  const { seed } = run.spec;
  const weights = initialWeights(config, (count, index) => initialNormals(seed, index, count));
  const { eosTokenId } = tokenizer;
  return {
    config,
    weights,
    tokenizer,
    tokenizerFiles,
    stopTokens: eosTokenId === undefined ? [] : [eosTokenId],
  };
}

async function tokenizerOf({ tokenizer }: ResolvedModelInit, baseDir: string): Promise<TokenizerFiles> {
  if (tokenizer.type === "characters") return characterTokenizer(tokenizer.characters);
  const path = resolve(baseDir, tokenizer.file.path);
  return { tokenizer: await readFile(path, "utf8"), config: "{}" };
}
