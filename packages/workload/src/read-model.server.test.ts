/** A model is read in the built thread: what comes back, what goes wrong, and that it can be given up. */
import { performance } from "node:perf_hooks";
import { join } from "node:path";
import { saveModel } from "@oarlock/models";
import { initialWeights, withScoreHead } from "@oarlock/nn";
import { initialNormals } from "@oarlock/rl";
import { bytesOf, sha256Hex } from "@oarlock/runtime";
import { characterTokenizer, createTokenizer } from "@oarlock/tokenizer";
import { temporaryFolder } from "@oarlock/testkit";
import { expect, test } from "vitest";
import { readRewardModel } from "./reward-model.ts";

const tokenizer = characterTokenizer({ alphabet: "0123456789+=" });
const config = {
  vocabSize: createTokenizer(tokenizer).vocabSize,
  hiddenSize: 256,
  intermediateSize: 1024,
  layers: 8,
  heads: 4,
  kvHeads: 4,
  headSize: 64,
  ropeTheta: 10_000,
  ropeConvention: "half-split",
  rmsNormEps: 1e-5,
  maxPositions: 64,
  tiedEmbeddings: true,
  qkvBias: false,
  qkNorm: false,
} as const;
const scorer = withScoreHead(config);
const policy = { config, tokenizer: createTokenizer(tokenizer) };
const successor = { shape: config, policy };

test("P1: a successor is read, cast and hashed in another thread, while this one goes on", async () => {
  const baseDir = temporaryFolder("successor");
  const weights = initialWeights(scorer, (count, index) => initialNormals(3, index, count));
  await saveModel(join(baseDir, "rm"), {
    config: scorer,
    weights,
    tokenizer,
    specials: { eosTokenIds: [] },
    generation: {},
  });
  const before = performance.eventLoopUtilization();
  const of = { source: "rm", baseDir, signal: AbortSignal.timeout(60_000) };
  const read = await readRewardModel(successor, of);
  const { active } = performance.eventLoopUtilization(before);
  expect(read.digest).toBe(sha256Hex(bytesOf(weights)));
  expect(sha256Hex(bytesOf(read.weights))).toBe(read.digest);
  // Memory of the thread that read it, shared: nothing was copied on this one.
  expect(read.weights.buffer).toBeInstanceOf(SharedArrayBuffer);
  // What this loop was busy with is less than hashing the weights alone takes it.
  const startMs = performance.now();
  for (let i = 0; i < 3; i++) sha256Hex(bytesOf(weights));
  expect(active).toBeLessThan(performance.now() - startMs);
});

test("X1, L1: its errors keep their codes, and a caller may give up", async () => {
  const baseDir = temporaryFolder("none");
  const of = { source: "nothing", baseDir, signal: AbortSignal.timeout(60_000) };
  await expect(readRewardModel(successor, of)).rejects.toMatchObject({ code: "MODEL_SOURCE" });
  const given = readRewardModel(successor, { ...of, signal: AbortSignal.abort() });
  await expect(given).rejects.toThrow(/aborted|given up/i);
});

test("S1: one that would take the policy's tokens for others is refused, though its shape is right", async () => {
  const baseDir = temporaryFolder("other-tokens");
  const shape = {
    ...config,
    hiddenSize: 8,
    intermediateSize: 8,
    layers: 1,
    heads: 1,
    kvHeads: 1,
    headSize: 8,
  };
  const model = withScoreHead(shape);
  const weights = initialWeights(model, (count, index) => initialNormals(3, index, count));
  const other = characterTokenizer({ alphabet: "0123456789=+" });
  const rest = { weights, specials: { eosTokenIds: [] }, generation: {} };
  await saveModel(join(baseDir, "rm"), { config: model, tokenizer: other, ...rest });
  const of = { source: "rm", baseDir, signal: AbortSignal.timeout(60_000) };
  await expect(readRewardModel({ shape, policy }, of)).rejects.toMatchObject({
    code: "REWARD_MODEL_INVALID",
    message: expect.stringContaining("has another tokenizer") as string,
  });
});
