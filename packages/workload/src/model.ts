/**
 * The model of a run: opened from files or the hub, or made new from the seed. Weights are read when they are asked
 * for: a plan needs the shape and the digests alone.
 */
import { OarlockError, shellWord } from "@oarlock/errors";
import {
  type JsonObject,
  loadModel,
  type LoadProgress,
  type ModelToSave,
  type SpecialTokens,
} from "@oarlock/models";
import { initialWeights, type LlamaConfig } from "@oarlock/nn";
import { initialNormals } from "@oarlock/rl";
import { initShape, type ResolvedModel, type ResolvedModelInit, sourcePath } from "@oarlock/runfile";
import { characterTokenizer, createTokenizer, type Tokenizer, type TokenizerFiles } from "@oarlock/tokenizer";
import { readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { modelTokenizer } from "./model-tokenizer.ts";

export interface OpenedModel {
  readonly config: LlamaConfig;
  readonly tokenizer: Tokenizer;
  readonly tokenizerFiles: TokenizerFiles;
  /** SHA-256 of the initial weights as files; "" for a new model. */
  readonly digest: string;
  /** For the folder that the trained model is written to. */
  readonly specials: SpecialTokens;
  readonly generation: JsonObject;
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
  /** Of files: held for who asks first (default), or let go of and read again for whoever asks. */
  readonly weights?: "held" | "read anew";
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: LoadProgress) => void;
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
      : await readTokenizer(resolve(baseDir, sourcePath(spec.file.path)));
  const tokenizer = createTokenizer(tokenizerFiles);
  const config = initShape(init, tokenizer.vocabSize);
  return {
    config,
    tokenizer,
    tokenizerFiles,
    digest: "",
    specials: specialsOf(tokenizer),
    generation: {},
    stopTokens: endToken(tokenizer),
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

/** From files or the hub. The digest is that of the weights themselves, so everything is read at once. */
async function storedModel(
  from: string,
  { baseDir, weights = "held", signal, onProgress }: OpenModelOptions,
): Promise<OpenedModel> {
  const loaded = await loadModel(sourcePath(from), {
    baseDir,
    shared: true,
    ...(signal === undefined ? {} : { signal }),
    ...(onProgress === undefined ? {} : { onProgress }),
  });
  if (loaded.config.head === "score") {
    throw new OarlockError(
      "MODEL_IS_SCORER",
      `${from} is a reward model (LlamaForSequenceClassification): it gives scores and no text; accepted: a language model`,
    );
  }
  if (loaded.tokenizer === undefined) {
    throw new OarlockError(
      "TOKENIZER_MISSING",
      `${from} has no tokenizer (tokenizer.json); accepted: a model with its tokenizer, e.g. from \`oarlock convert ${shellWord(from)} DIR --tokenizer FILE\``,
    );
  }
  const tokenizer = createTokenizer(loaded.tokenizer);
  const { specials, generation, config, digest } = loaded;
  const stopTokens = [...new Set([...specials.eosTokenIds, ...endToken(tokenizer)])];
  const beyond = stopTokens.find((id) => id >= config.vocabSize);
  if (beyond !== undefined) {
    throw new OarlockError(
      "MODEL_END_TOKEN",
      `${from}: the token ${beyond} that ends a text (eos_token_id of generation_config.json or config.json) is no token of the ` +
        `model: it could never end one; accepted: 0 to ${config.vocabSize - 1}`,
    );
  }
  return {
    config,
    tokenizer: modelTokenizer(tokenizer, { vocabSize: config.vocabSize, stopTokens }),
    tokenizerFiles: loaded.tokenizer,
    digest,
    specials,
    generation,
    stopTokens,
    weights: onceThenAnew(weights === "held" ? loaded.weights : undefined, () =>
      readAgain(from, digest, baseDir),
    ),
  };
}

/**
 * The weights that were read go to who asks first, and are not held: a run needs them at its start, and hardly ever again.
 * Whoever asks later has them read anew.
 */
function onceThenAnew(
  weights: Float32Array | undefined,
  anew: () => Promise<Float32Array>,
): () => Promise<Float32Array> {
  let unclaimed = weights;
  return async () => {
    const found = unclaimed ?? (await anew());
    unclaimed = undefined;
    return found;
  };
}

async function readAgain(from: string, digest: string, baseDir: string): Promise<Float32Array> {
  const { weights, digest: found } = await loadModel(sourcePath(from), { baseDir, shared: true });
  if (found === digest) return weights;
  throw new OarlockError("MODEL_CHANGED", `${from} is not what it was when the run began; bring it back`);
}

/** What a folder with other weights of this model holds besides them. */
export function modelParts({
  config,
  specials,
  stopTokens,
  tokenizer,
  tokenizerFiles,
  generation,
}: OpenedModel): Omit<ModelToSave, "weights"> {
  const { bosTokenId, padTokenId } = tokenizer;
  return {
    config,
    generation,
    tokenizer: tokenizerFiles,
    specials: {
      ...specials,
      ...(bosTokenId === undefined ? {} : { bosTokenId }),
      ...(padTokenId === undefined ? {} : { padTokenId }),
      eosTokenIds: stopTokens,
    },
  };
}

function endToken({ eosTokenId }: Tokenizer): readonly number[] {
  return eosTokenId === undefined ? [] : [eosTokenId];
}

/** The special tokens of a new model are those of its tokenizer. */
function specialsOf(tokenizer: Tokenizer): SpecialTokens {
  const { bosTokenId, padTokenId } = tokenizer;
  return {
    ...(bosTokenId === undefined ? {} : { bosTokenId }),
    ...(padTokenId === undefined ? {} : { padTokenId }),
    eosTokenIds: endToken(tokenizer),
  };
}
