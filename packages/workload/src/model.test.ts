import { join } from "node:path";
import { saveModel } from "@oarlock/models";
import { initialWeights, type LlamaConfig, withScoreHead } from "@oarlock/nn";
import { temporaryFolder } from "@oarlock/testkit";
import { characterTokenizer } from "@oarlock/tokenizer";
import { expect, test } from "vitest";
import { openModel } from "./model.ts";
import { rowLengths } from "./row-lengths.ts";

const policy: LlamaConfig = {
  vocabSize: 15,
  hiddenSize: 8,
  intermediateSize: 12,
  layers: 1,
  heads: 2,
  kvHeads: 2,
  headSize: 4,
  ropeTheta: 10_000,
  ropeConvention: "half-split",
  rmsNormEps: 1e-5,
  maxPositions: 32,
  tiedEmbeddings: true,
  qkvBias: false,
  qkNorm: false,
};

async function saved(
  config: LlamaConfig,
  {
    eosTokenIds = [],
    named = {},
  }: { readonly eosTokenIds?: readonly number[]; readonly named?: object } = {},
): Promise<string> {
  const folder = join(temporaryFolder("model"), "m");
  const weights = initialWeights(config, (count) => new Float32Array(count).fill(0.1));
  const files = characterTokenizer({ alphabet: "0123456789+=" });
  const tokenizer = {
    ...files,
    config: JSON.stringify({ ...(JSON.parse(files.config) as object), ...named }),
  };
  await saveModel(folder, { config, weights, tokenizer, specials: { eosTokenIds } });
  return folder;
}

test("X1: a reward model is no policy, though its trunk would make text", async () => {
  const [language, scorer] = [await saved(policy), await saved(withScoreHead(policy))];
  const opened = await openModel({ from: language }, { baseDir: "/", seed: 0 });
  expect(opened.config.vocabSize).toBe(15);
  await expect(openModel({ from: scorer }, { baseDir: "/", seed: 0 })).rejects.toThrow(
    /MODEL_IS_SCORER.*is a reward model.*accepted: a language model/,
  );
});

test("the weights of a stored model are not held once they were asked for, and read anew for who asks again", async () => {
  const folder = await saved(policy);
  const opened = await openModel({ from: folder }, { baseDir: "/", seed: 0 });
  const [first, second] = [await opened.weights(), await opened.weights()];
  expect(second).not.toBe(first);
  expect(second).toEqual(first);
  const other = initialWeights(policy, (count) => new Float32Array(count).fill(0.2));
  await saveModel(folder, { config: policy, weights: other, specials: { eosTokenIds: [] } });
  await expect(opened.weights()).rejects.toThrow(/MODEL_CHANGED/);
});

test("a service that has its weights from the learner holds none of the files", async () => {
  const folder = await saved(policy);
  const opened = await openModel({ from: folder }, { baseDir: "/", seed: 0, weights: "read anew" });
  const other = initialWeights(policy, (count) => new Float32Array(count).fill(0.2));
  await saveModel(folder, { config: policy, weights: other, specials: { eosTokenIds: [] } });
  await expect(opened.weights()).rejects.toThrow(/MODEL_CHANGED/);
});

test("a text ends with the model's first end token where the tokenizer names none", async () => {
  const eosTokenIds = [4, 2];
  const unnamed = await saved(policy, { eosTokenIds, named: { eos_token: null } });
  const opened = await openModel({ from: unnamed }, { baseDir: "/", seed: 0 });
  expect(opened.tokenizer.eosTokenId).toBe(4);
  expect(opened.stopTokens).toEqual([4, 2]);
  const named = await openModel({ from: await saved(policy, { eosTokenIds }) }, { baseDir: "/", seed: 0 });
  expect(named.tokenizer.eosTokenId).toBe(2);
});

test("X1: rows with tokens that the tokenizer has and the model has not are refused with their place", async () => {
  const smaller = await saved({ ...policy, vocabSize: 14 });
  const { tokenizer } = await openModel({ from: smaller }, { baseDir: "/", seed: 0 });
  expect(tokenizer.vocabSize).toBe(15);
  const dataset = (last: string) => ({
    name: "sums",
    digest: "",
    parts: ["prompt"],
    rows: ["1+2", last].map((prompt) => ({ prompt, fields: {} })),
  });
  const measured = { tokenizer, measured: "prompt" } as const;
  const rendering = { systemPrompt: "", chatTemplate: "auto" } as const;
  expect(rowLengths(dataset("3+4+5"), rendering, measured).lengths).toEqual([3, 5]);
  expect(() => rowLengths(dataset("3="), rendering, measured)).toThrow(
    /TOKENIZER_TOKEN\] row 2 of sums: the text holds "=", token 14, .*accepted: tokens from 0 to 13 \(vocab_size is 14\)/,
  );
});
