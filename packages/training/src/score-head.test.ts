/** Reward models and critics in the trainer; and PPO's promise about its first update. */
import {
  initialWeights,
  type LlamaConfig,
  parameterLayout,
  scoreWeights,
  weightsWithHead,
  withScoreHead,
} from "@oarlock/nn";
import { bradleyTerryLoss, initialNormals, valueLoss } from "@oarlock/rl";
import { testedEngine } from "@oarlock/testkit";
import { afterEach, describe, expect, test } from "vitest";
import { TrainerCore } from "./core.ts";
import { openScoreCore } from "./score-core.ts";
import { sequenceRow } from "./sequence-row.ts";
import type { Objective, StepOptions, TrainingRow } from "./types.ts";
import { SMALL_LLAMA, stateOf } from "./testing.ts";

const policy = SMALL_LLAMA;
const policyWeights = initialWeights(policy, (count, index) => initialNormals(7, index, count));
const scorer = withScoreHead(policy);
const scorerWeights = initialWeights(scorer, (count, index) => initialNormals(9, index, count));

const opened: TrainerCore[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((core) => core.close()));
});
async function open(config: LlamaConfig, weights: Float32Array): Promise<TrainerCore> {
  const core = await TrainerCore.open({ config, weights, ort: { driver: "native", ...testedEngine() } });
  opened.push(core);
  return core;
}

const sequence = (number: number): number[] =>
  Array.from({ length: 3 + ((number * 7) % 20) }, (_, t) => (number * 11 + t * t * 3 + t) % 29);

/** Rows with 3 prompt tokens, whose arrays follow from their number alone. */
const rowsOf = (count: number): TrainingRow[] =>
  Array.from({ length: count }, (_, r) => {
    const tokens = Int32Array.from(sequence(r + 1));
    const wave = (scale: number) =>
      Float32Array.from(tokens, (__, t) => scale * Math.sin(r * 3 + t * (1 + scale)));
    return {
      tokens,
      promptLength: 2,
      lossMask: Uint8Array.from(tokens, (__, t) => (t >= 2 ? 1 : 0)),
      advantages: wave(1),
      returns: wave(0.7),
      oldValues: wave(0.5),
    };
  });

const step = (objective: Objective, change: Partial<StepOptions> = {}): StepOptions => ({
  objective,
  aggregation: "token-mean-global",
  optimizer: { learningRate: 3e-3, maxGradNorm: 1 },
  microBatchSize: 64,
  ...change,
});
const ppo: Objective = {
  type: "grpo",
  clip: { low: 0.2, high: 0.2 },
  klCoefficient: 0,
  klEstimator: "k3",
  entropyCoefficient: 0,
};

describe("a reward model", () => {
  const pairs = (count: number): TrainingRow[] =>
    Array.from({ length: count }, (_, p) => [
      sequenceRow(sequence(2 * p + 1), p / 4),
      sequenceRow(sequence(2 * p + 2)),
    ]).flat();
  const objective: Objective = { type: "pairs", centering: 0.01 };

  test("has the loss of its scores, whatever the micro-batches", async () => {
    const rows = pairs(5);
    const core = await open(scorer, scorerWeights);
    const scores = (await core.scores(rows, { microBatchSize: 4 })).map((row) => row.at(-1)!);
    const losses = Array.from({ length: 5 }, (_, p) =>
      bradleyTerryLoss(scores[2 * p]!, scores[2 * p + 1]!, { margin: p / 4, centering: 0.01 }),
    );
    const expected = losses.reduce((a, b) => a + b) / 5;
    const still = { optimizer: { learningRate: 0 } };
    for (const microBatchSize of [2, 6, 64]) {
      const { sums } = await core.step(rows, step(objective, { ...still, microBatchSize }));
      expect(sums.loss).toBeCloseTo(expected, 5);
      expect(sums.accuracy).toBeCloseTo(
        losses.filter((_, p) => scores[2 * p]! > scores[2 * p + 1]!).length / 5,
        6,
      );
    }
  });

  test("reads pairs whose rows have nothing but what is scored", async () => {
    const rows = [sequenceRow([3, 5]), sequenceRow([3, 7])];
    const core = await open(scorer, scorerWeights);
    const [kept, dropped] = (await core.scores(rows, { microBatchSize: 2 })).map((row) => row.at(-1)!);
    const { sums } = await core.step(rows, step(objective));
    expect(sums.loss).toBeCloseTo(bradleyTerryLoss(kept!, dropped!, { margin: 0, centering: 0.01 }), 5);
  });

  test("learns an order, and starts at 0 with a head of its own", async () => {
    const rows = pairs(6);
    const core = await open(scorer, scoreWeights({ config: policy, weights: policyWeights }));
    expect((await core.scores(rows, { microBatchSize: 4 })).flatMap((row) => [...row])).toSatisfy(
      (scores: number[]) => scores.every((score) => score === 0),
    );
    for (let i = 0; i < 30; i++) await core.step(rows, step({ type: "pairs", centering: 0 }));
    const { sums } = await core.step(rows, step({ type: "pairs", centering: 0 }));
    expect(sums.accuracy).toBeCloseTo(1, 6);
  });

  test("is refused where a pair would be cut, and objectives where the head is another", async () => {
    const core = await open(scorer, scorerWeights);
    await expect(core.step(pairs(2), step(objective, { microBatchSize: 3 }))).rejects.toThrow(
      /microBatchSize is 3.*even/,
    );
    await expect(core.step(pairs(2).slice(1), step(objective))).rejects.toThrow(/rows is 3.*pairs/);
    await expect(core.step(rowsOf(2), step(ppo))).rejects.toThrow(/needs a model that gives logits/);
  });
});

describe("a critic", () => {
  test("has the loss of its values", async () => {
    const rows = rowsOf(4);
    const core = await open(scorer, scorerWeights);
    const values = await core.scores(rows, { microBatchSize: 4 });
    const losses = rows.flatMap((row, r) =>
      Array.from(row.tokens.keys())
        .filter((t) => row.lossMask[t] === 1)
        .map((t) =>
          valueLoss({ value: values[r]![t]!, oldValue: row.oldValues![t]!, return: row.returns![t]! }, 0.2),
        ),
    );
    const { sums } = await core.step(rows, step({ type: "value", clip: 0.2 }));
    expect(sums.loss).toBeCloseTo(losses.reduce((a, b) => a + b) / losses.length, 5);
    expect(sums.valueClipFraction).toBeGreaterThan(0);
  });
});

test("D3: a reward model scores a text at several places in one pass, each as the text cut there", async () => {
  const core = await openScoreCore({
    config: scorer,
    weights: scorerWeights,
    ort: { driver: "native", ...testedEngine() },
  });
  const texts = [4, 9, 17, 30].map((number) => Int32Array.from(sequence(number)));
  const places = texts.map(({ length }, i) => [i % 2, Math.floor(length / 2), length - 1]);
  const cuts = texts.flatMap((text, i) => places[i]!.map((place) => text.slice(0, place + 1)));
  const [together, cut, whole] = [
    await core.score(texts, places),
    await core.score(cuts),
    await core.score(texts),
  ];
  expect(together).toHaveLength(cuts.length);
  expect(new Set(together).size).toBe(cuts.length);
  for (const [i, score] of cut.entries()) expect(together[i]).toBeCloseTo(score, 5);
  expect(
    Array.from(together)
      .filter((_, i) => i % 3 === 2)
      .map((score, i) => score - whole[i]!),
  ).toEqual(texts.map(() => expect.closeTo(0, 5)));
  // A score is of the text and its places alone, whatever else is asked for.
  expect(await core.score(texts.slice(1, 2), places.slice(1, 2))).toEqual(together.slice(3, 6));
  await core.close();
});

describe("a value head on the policy's trunk, trained alone", () => {
  const both: LlamaConfig = { ...policy, head: "both" };
  const start = weightsWithHead({ config: policy, weights: policyWeights }, "both");
  const layout = parameterLayout(both);
  const { offset, size } = layout.views.find(({ name }) => name === "score")!;
  const head = (flat: Float32Array): Float32Array => flat.slice(offset, offset + size);
  const below = (flat: Float32Array): Float32Array =>
    Float32Array.from([...flat.subarray(0, offset), ...flat.subarray(offset + size)]);
  const alone: Objective = { type: "value", clip: 0, headOnly: true };
  const decayed = { optimizer: { learningRate: 0.05, weightDecay: 0.1, maxGradNorm: 1 } };

  test.each([1, 2])("leaves everything else bit for bit as it was, with %i lanes", async (lanes) => {
    const core = await TrainerCore.open({
      config: both,
      weights: start,
      lanes,
      ort: { driver: "native", ...testedEngine() },
    });
    opened.push(core);
    core.gradients.fill(Number.NaN); // what a frozen trunk's gradients are is nobody's business
    const losses: number[] = [];
    for (let i = 0; i < 12; i++) {
      const { sums, applied } = await core.step(rowsOf(6), step(alone, { ...decayed, microBatchSize: 2 }));
      losses.push(sums.loss);
      expect(applied).toBe(true);
    }
    expect(losses.at(-1)).toBeLessThan(losses[0]! * 0.95);
    const { weights, firstMoments, secondMoments, ...steps } = stateOf(core);
    expect(below(weights)).toEqual(below(start));
    expect(head(weights)).not.toEqual(head(start));
    for (const moments of [firstMoments, secondMoments]) {
      expect(below(moments).every((one) => one === 0)).toBe(true);
      expect(head(moments).some((one) => one !== 0)).toBe(true);
    }
    expect(steps).toEqual({ optimizerStep: 0, headStep: 12 });
  });

  test("T3: goes on with it bit for bit from a snapshot, and a new stage forgets it", async () => {
    const joint = step({ ...ppo, value: { clip: 0.2, coefficient: 0.5 } }, decayed);
    const first = await open(both, start);
    await first.step(rowsOf(6), step(alone, decayed));
    const second = await open(both, start);
    second.restore(stateOf(first));
    for (const core of [first, second]) {
      await core.step(rowsOf(6), step(alone, decayed));
      await core.step(rowsOf(6), joint);
    }
    expect(stateOf(second)).toEqual(stateOf(first));
    expect(stateOf(first)).toMatchObject({ optimizerStep: 1, headStep: 2 });
    first.resetOptimizer();
    expect(stateOf(first)).toMatchObject({ optimizerStep: 0 });
    expect(stateOf(first).headStep).toBeUndefined();
  });

  test("W3: an update that is not finite changes nothing, nor is it counted", async () => {
    const core = await open(both, start);
    const rows = rowsOf(4).map((row) => ({ ...row, returns: row.returns!.map(() => Number.NaN) }));
    const before = stateOf(core);
    expect(await core.step(rows, step(alone, decayed))).toMatchObject({ applied: false, optimizerStep: 0 });
    expect(stateOf(core)).toEqual(before);
  });

  test("is refused where the model has no policy beside it", async () => {
    const core = await open(scorer, scorerWeights);
    await expect(core.step(rowsOf(2), step(alone))).rejects.toThrow(/needs a model that gives both/);
  });
});

describe("PPO's updates", () => {
  const order = (epochs: number, count: number): Int32Array[] =>
    Array.from({ length: epochs }, (_, e) =>
      Int32Array.from({ length: count }, (__, i) => (i * 5 + e * 3 + 1) % count),
    );

  test("the first ratio is exactly 1 and the first KL exactly 0 with log-probs of the same batches", async () => {
    const rows = rowsOf(12);
    const core = await open(policy, policyWeights);
    const batching = { microBatchSize: 3, miniBatchSize: 6 };
    const [first] = order(1, 12);
    const old = await core.logprobs(rows, "policy", { ...batching, order: first!, trainedOnly: true });
    const fed = rows.map((row, i) => ({ ...row, oldLogprobs: old[i]! }));
    const { updates } = await core.step(fed, step(ppo, { ...batching, order: order(2, 12), epochs: 2 }));
    expect(updates).toHaveLength(4);
    expect(updates[0]!.sums).toMatchObject({ oldKl: 0, clipFraction: 0 });
    expect(updates[1]!.sums.oldKl).not.toBe(0);
  });

  test("end before the update that finds the policy too far away, which is not made", async () => {
    const rows = rowsOf(8);
    const free = await open(policy, policyWeights);
    const bounded = await open(policy, policyWeights);
    const options = step(ppo, { epochs: 6, optimizer: { learningRate: 0.02 } });
    const all = await free.step(rows, options);
    expect(all).toMatchObject({ stopped: false });
    const limit = all.updates[2]!.sums.oldKl / 2 + all.updates[3]!.sums.oldKl / 2;
    const far = all.updates.findIndex(({ sums }) => sums.oldKl > limit);
    expect(far).toBeGreaterThan(0);
    const early = await bounded.step(rows, { ...options, maxKl: limit });
    expect(early).toMatchObject({ stopped: true, optimizerStep: far });
    expect(early.updates).toHaveLength(far);
  });

  test("end before the first update where the rows' own policy is too far away already", async () => {
    const core = await open(policy, policyWeights);
    const rows = rowsOf(8).map((row) => ({ ...row, oldLogprobs: new Float32Array(row.tokens.length) }));
    const none = await core.step(rows, step(ppo, { maxKl: 0.1 }));
    expect(none).toMatchObject({ stopped: true, updates: [], gradNorm: 0, applied: true, optimizerStep: 0 });
    expect(core.weights).toEqual(policyWeights);
  });

  test("another order gives other weights, the same order the same", async () => {
    const rows = rowsOf(8);
    const run = async (orders: readonly Int32Array[]): Promise<Float32Array> => {
      const core = await open(policy, policyWeights);
      await core.step(rows, step(ppo, { epochs: 2, miniBatchSize: 4, order: orders }));
      return core.weights.slice();
    };
    const [once, again, other] = [
      await run(order(2, 8)),
      await run(order(2, 8)),
      await run(order(2, 8).toReversed()),
    ];
    expect(again).toEqual(once);
    expect(other).not.toEqual(once);
  });
});
