/** A tokenizer that a user names by its file: what a model in a format without one is given. */
import { existsSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { OarlockError } from "@oarlock/errors";
import { createTokenizer, type TokenizerFiles } from "@oarlock/tokenizer";
import { readLlama2cTokenizer } from "./llama2c-tokenizer.ts";
import { readTokenizerFiles } from "./model-folder.ts";

const ACCEPTED = "a folder with a tokenizer.json, a tokenizer.json, a llama2.c tokenizer (.bin)";
/** The tokenizer of the largest vocabulary in use has a twentieth of it. */
const MAX_BYTES = 1024 * 1024 * 1024;

/**
 * Reads a tokenizer for a model of `vocabSize` tokens. Throws `MODEL_TOKENIZER` where there is none, or where it knows
 * tokens that the model has no row for.
 */
export async function loadTokenizer(path: string, vocabSize: number): Promise<TokenizerFiles> {
  const files = await readFiles(path, vocabSize);
  const { vocabSize: own } = createTokenizer(files);
  if (own <= vocabSize) return files;
  throw new OarlockError(
    "MODEL_TOKENIZER",
    `${path} has ${own} tokens; accepted by this model: at most ${vocabSize}`,
  );
}

async function readFiles(path: string, vocabSize: number): Promise<TokenizerFiles> {
  const refuse = (why: string): never => {
    throw new OarlockError("MODEL_TOKENIZER", `tokenizer ${path} ${why}; accepted: ${ACCEPTED}`);
  };
  if (!existsSync(path)) return refuse("does not exist");
  const info = statSync(path);
  if (info.isDirectory()) return (await readTokenizerFiles(path)) ?? refuse("holds no tokenizer.json");
  if (info.size > MAX_BYTES) return refuse(`has ${info.size} bytes, more than ${MAX_BYTES}`);
  if (basename(path) === "tokenizer.json") {
    return (await readTokenizerFiles(dirname(path))) ?? refuse("does not exist");
  }
  if (path.endsWith(".bin")) return readLlama2cTokenizer(await readFile(path), { file: path, vocabSize });
  return refuse("is a file of another kind");
}
