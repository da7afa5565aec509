/** The trainer in its worker thread: same results as on this thread, a free event loop, calls that can be stopped. */
import { createHash } from "node:crypto";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { initialWeights, type LlamaConfig } from "@oarlock/nn";
import { initialNormals } from "@oarlock/rl";
import {
  createTrainer,
  type StateArray,
  type StepOptions,
  type Trainer,
  TrainerCore,
  type TrainingRow,
} from "@oarlock/training";
import { watchIdleLoop } from "@oarlock/testkit";
import { afterEach, expect, test } from "vitest";

const config: LlamaConfig = {
  vocabSize: 512,
  hiddenSize: 64,
  intermediateSize: 172,
  layers: 4,
  heads: 8,
  kvHeads: 4,
  headSize: 8,
  ropeTheta: 10_000,
  ropeConvention: "interleaved",
  rmsNormEps: 1e-5,
  maxPositions: 128,
  tiedEmbeddings: true,
  qkvBias: false,
  qkNorm: false,
};
const weights = initialWeights(config, (count, index) => initialNormals(3, index, count));
const rows: TrainingRow[] = Array.from({ length: 32 }, (_, r) => ({
  tokens: Int32Array.from({ length: 100 }, (__, t) => (r * 13 + t * 7) % 512),
  promptLength: 4,
  lossMask: Uint8Array.from({ length: 100 }, (__, t) => (t < 4 ? 0 : 1)),
}));
const options: StepOptions = {
  objective: { type: "sft" },
  aggregation: "token-mean-global",
  optimizer: { learningRate: 1e-3, maxGradNorm: 1 },
  microBatchSize: 8,
};

const opened: Trainer[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((trainer) => trainer.close()));
});
async function open(): Promise<Trainer> {
  const trainer = await createTrainer({ config, weights });
  opened.push(trainer);
  return trainer;
}

test("gives the bits of the same trainer on this thread, and the digest of the policy's bytes", async () => {
  const trainer = await open();
  const core = await TrainerCore.open({ config, weights });
  const [threaded, local] = [await trainer.step(rows, options), await core.step(rows, options)];
  expect(threaded.sums).toEqual(local.sums);
  const policy = await trainer.policy();
  expect(policy.weights.buffer).toBeInstanceOf(SharedArrayBuffer);
  const own = core.weights; // a copy each time
  expect(policy.weights.every((weight, i) => Object.is(weight, own[i]))).toBe(true);
  expect(policy.digest).toBe(createHash("sha256").update(own).digest("hex"));
  await core.close();
});

test("P1: the event loop answers while the trainer computes", async () => {
  const trainer = await open();
  await trainer.step(rows, options); // sessions are made
  const idle = await watchIdleLoop();
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  const { seconds } = await trainer.step(rows, { ...options, epochs: 4 });
  delay.disable();
  expect(seconds).toBeGreaterThan(0.1);
  expect(delay.max / 1e6).toBeLessThan(100 + 3 * (await idle.maxMs()));
});

test("a stopped call ends early, and the trainer goes on", async () => {
  const trainer = await open();
  const stop = new AbortController();
  const call = trainer.step(rows, { ...options, epochs: 1000 }, stop.signal);
  setTimeout(() => stop.abort(), 200);
  await expect(call).rejects.toThrow(/TRAINING_ABORTED/);
  expect((await trainer.step(rows, options)).applied).toBe(true);
});

test("state goes out and comes back", async () => {
  const trainer = await open();
  await trainer.captureReference();
  await trainer.step(rows, options);
  const { arrays, elements, optimizerStep } = await trainer.stateFacts();
  expect(arrays).toEqual(["weights", "firstMoments", "secondMoments", "reference"]);
  const copyOf = async (name: StateArray): Promise<Float32Array> => {
    const copy = new Float32Array(new SharedArrayBuffer(4 * elements));
    await trainer.copyState(name, copy);
    return copy;
  };
  const state = {
    weights: await copyOf("weights"),
    firstMoments: await copyOf("firstMoments"),
    secondMoments: await copyOf("secondMoments"),
    reference: await copyOf("reference"),
    optimizerStep,
  };
  const after = await trainer.step(rows, options);
  await trainer.restore(state);
  expect((await trainer.step(rows, options)).sums).toEqual(after.sums);
  expect(state.reference).toEqual(weights);
});
