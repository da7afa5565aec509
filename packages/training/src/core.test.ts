import { createHash } from "node:crypto";
import fc from "fast-check";
import {
  adamwFactors,
  adamwReference,
  type AdamwState,
  initialWeights,
  type LlamaConfig,
  parameterLayout,
} from "@oarlock/nn";
import { initialNormals } from "@oarlock/rl";
import { testedEngine } from "@oarlock/testkit";
import { afterEach, describe, expect, test } from "vitest";
import { TrainerCore } from "./core.ts";
import type { Objective, StepOptions, TrainerOptions, TrainingRow } from "./types.ts";
import { SMALL_LLAMA, stateOf } from "./testing.ts";

const config: LlamaConfig = { ...SMALL_LLAMA, ropeConvention: "interleaved" };
const weights = initialWeights(config, (count, index) => initialNormals(7, index, count));

const opened: TrainerCore[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((core) => core.close()));
});
async function open(options: Partial<TrainerOptions> = {}): Promise<TrainerCore> {
  const core = await TrainerCore.open({
    config,
    weights,
    ort: { driver: "native", ...testedEngine() },
    ...options,
  });
  opened.push(core);
  return core;
}

/** Rows of 4 to 23 tokens whose content follows from their number alone. */
const rowsOf = (count: number): TrainingRow[] =>
  Array.from({ length: count }, (_, r) => {
    const length = 4 + ((r * 7) % 20);
    const promptLength = 1 + (r % 3);
    return {
      tokens: Int32Array.from({ length }, (__, t) => (r * 11 + t * t * 3 + t) % config.vocabSize),
      promptLength,
      lossMask: Uint8Array.from({ length }, (__, t) => (t >= promptLength ? 1 : 0)),
      advantages: Float32Array.from({ length }, (__, t) => Math.sin(r * 3 + t)),
      group: r >> 1,
    };
  });

const sft: Objective = { type: "sft" };
const grpo: Objective = {
  type: "grpo",
  clip: { low: 0.2, high: 0.2 },
  klCoefficient: 0.05,
  klEstimator: "k3",
  entropyCoefficient: 0.01,
};
const options = (change: Partial<StepOptions> = {}): StepOptions => ({
  objective: sft,
  aggregation: "token-mean-global",
  optimizer: { learningRate: 3e-3, maxGradNorm: 1, weightDecay: 0.1 },
  microBatchSize: 64,
  ...change,
});

const distance = (a: Float32Array, b: Float32Array): number =>
  Math.sqrt(a.reduce((sum, value, i) => sum + (value - (b[i] ?? 0)) ** 2, 0));
const norm = (a: Float32Array): number => distance(a, new Float32Array(a.length));
const digest = (core: TrainerCore): string => {
  const { weights: w, firstMoments, secondMoments } = stateOf(core);
  return [w, firstMoments, secondMoments]
    .reduce((hash, part) => hash.update(part), createHash("sha256"))
    .digest("hex");
};

describe("supervised rows in an update of PPO (PPO-ptx)", () => {
  test.each([1, 2])("add γ times the gradient of their mean −log p, with %i lanes", async (lanes) => {
    const [rows, mixed] = [rowsOf(5), rowsOf(9).slice(5)];
    const run = async (of: readonly TrainingRow[], change: Partial<StepOptions>) => {
      const core = await open({ lanes });
      core.captureReference();
      const { sums } = await core.step(of, options({ microBatchSize: 2, ...change }));
      return { sums, gradients: core.gradients.slice() };
    };
    const alone = await run(rows, { objective: grpo, temperature: 0.7 });
    const supervised = await run(mixed, {});
    const mix = { rows: mixed, coefficient: 0.5 };
    const both = await run(rows, { objective: grpo, temperature: 0.7, mix });
    const expected = alone.gradients.map((gradient, i) => gradient + 0.5 * (supervised.gradients[i] ?? 0));
    expect(distance(both.gradients, expected)).toBeLessThan(1e-6 * norm(expected));
    expect(both.sums.mixedNll).toBeCloseTo(supervised.sums.nll, 6);
    expect(both.sums.loss).toBeCloseTo(alone.sums.loss + 0.5 * supervised.sums.nll, 6);
    // What is not mixed in keeps its bits.
    const none = await run(rows, { objective: grpo, temperature: 0.7, mix: { rows: mixed, coefficient: 0 } });
    expect(none.gradients).toEqual(alone.gradients);
  });
});

describe("micro-batches", () => {
  test.each([
    ["sft", sft, "token-mean-global"],
    ["sft", sft, "seq-mean-token-mean"],
    ["grpo", grpo, "token-mean-group"],
    ["grpo", grpo, "seq-mean-token-sum"],
  ] as const)(
    "%s: loss and gradients do not depend on the split (%o, %s)",
    async (_, objective, aggregation) => {
      const rows = rowsOf(7);
      const run = async (microBatchSize: number): Promise<{ loss: number; gradients: Float32Array }> => {
        const core = await open();
        core.captureReference();
        const { sums } = await core.step(rows, options({ objective, aggregation, microBatchSize }));
        return { loss: sums.loss, gradients: core.gradients.slice() };
      };
      const whole = await run(7);
      expect(norm(whole.gradients)).toBeGreaterThan(1e-3);
      const property = async (size: number): Promise<void> => {
        const parts = await run(size);
        expect(Math.abs(parts.loss - whole.loss)).toBeLessThanOrEqual(
          1e-6 * Math.max(1, Math.abs(whole.loss)),
        );
        expect(distance(parts.gradients, whole.gradients)).toBeLessThanOrEqual(1e-6 * norm(whole.gradients));
      };
      await fc.assert(fc.asyncProperty(fc.integer({ min: 1, max: 6 }), property), { numRuns: 6 });
    },
  );

  test.each([1, 2, 3])("%i lanes: the same loss and gradients, the same bits each time", async (lanes) => {
    const rows = rowsOf(9);
    const one = await open();
    const expected = await one.step(rows, options({ microBatchSize: 2 }));
    const runs = await Promise.all(
      [1, 2].map(async () => {
        const core = await open({ lanes });
        const { sums } = await core.step(rows, options({ microBatchSize: 2 }));
        expect(Math.abs(sums.loss - expected.sums.loss)).toBeLessThan(1e-6 * expected.sums.loss);
        expect(distance(core.gradients, one.gradients)).toBeLessThanOrEqual(1e-6 * norm(one.gradients));
        await core.step(rows.slice(0, 1), options()); // fewer micro-batches than lanes: the others' old gradients do not count
        return digest(core);
      }),
    );
    await one.step(rows.slice(0, 1), options());
    expect(new Set(lanes === 1 ? [...runs, digest(one)] : runs).size).toBe(1);
    expect(distance(one.weights, opened.at(-1)?.weights ?? weights)).toBeLessThan(1e-4 * norm(one.weights));
  });

  test("padding to another length changes log-probs by rounding only", async () => {
    const rows = rowsOf(5);
    const core = await open();
    const alone = await core.logprobs(rows, "policy", { microBatchSize: 1 });
    const padded = await core.logprobs(rows, "policy", { microBatchSize: 5 });
    for (const [i, found] of alone.entries()) {
      expect(found[0]).toBe(0);
      expect(found.length).toBe(rows[i]?.tokens.length);
      expect(distance(found, padded[i] ?? new Float32Array(found.length))).toBeLessThan(1e-5);
    }
  });
});

describe("rows of one prompt", () => {
  /** Four rows that begin with the same twelve tokens. */
  const prompted = (): TrainingRow[] =>
    rowsOf(4).map(({ advantages: _advantages, ...row }) => ({
      ...row,
      tokens: Int32Array.of(
        ...Array.from({ length: 12 }, (_, t) => (t * 5) % config.vocabSize),
        ...row.tokens,
      ),
      lossMask: Uint8Array.of(...new Uint8Array(12), ...row.lossMask),
      promptLength: 12 + row.promptLength,
    }));

  test("the prompt is read once, and log-probs, loss and gradients are those of rows alone", async () => {
    const [alone, together] = [await open(), await open()];
    const rows = prompted();
    const [a, b] = await Promise.all(
      [alone, together].map((core, i) => core.logprobs(rows, "policy", { microBatchSize: i === 0 ? 1 : 4 })),
    );
    a?.forEach((found, i) => expect(distance(found, b?.[i] ?? found)).toBeLessThan(1e-5));
    const [expected, found] = [
      await alone.step(rows, options({ microBatchSize: 1 })),
      await together.step(rows, options({ microBatchSize: 4 })),
    ];
    expect(found.tokens.computed).toBe(12 + 4 * 20); // of 12 + 19 tokens at most, the last of them not read
    expect(Math.abs(found.sums.loss - expected.sums.loss)).toBeLessThan(1e-6 * expected.sums.loss);
    expect(distance(together.gradients, alone.gradients)).toBeLessThanOrEqual(1e-6 * norm(alone.gradients));
  });
});

describe("an update", () => {
  test("is AdamW with clipping by global norm, as in float64", async () => {
    const core = await open();
    const layout = parameterLayout(config);
    const settings = {
      learningRate: 3e-3,
      beta1: 0.9,
      beta2: 0.99,
      epsilon: 1e-8,
      weightDecay: 0.1,
      maxGradNorm: 0.5,
    };
    let state: AdamwState = {
      weights: Float64Array.from(core.weights),
      first: new Float64Array(layout.length),
      second: new Float64Array(layout.length),
    };
    for (let step = 1; step <= 3; step++) {
      const { gradNorm } = await core.step(rowsOf(6), options({ optimizer: settings }));
      expect(gradNorm).toBeCloseTo(norm(core.gradients), 4);
      const decayed = adamwReference(state, core.gradients, adamwFactors(settings, step, gradNorm));
      const plain = adamwReference(
        state,
        core.gradients,
        adamwFactors({ ...settings, weightDecay: 0 }, step, gradNorm),
      );
      state = {
        ...decayed,
        weights: decayed.weights.map((w, i) => (i < layout.decayLength ? w : (plain.weights[i] ?? 0))),
      };
      const worst = core.weights.reduce(
        (most, w, i) => Math.max(most, Math.abs(w - (state.weights[i] ?? 0))),
        0,
      );
      expect(worst).toBeLessThan(2e-6);
    }
  });

  test("lowers the loss on the rows it trains on", async () => {
    const core = await open();
    const rows = rowsOf(6);
    const first = await core.step(rows, options());
    expect(first.sums.loss).toBeGreaterThan(Math.log(config.vocabSize) * 0.8);
    let last = first;
    for (let step = 0; step < 60; step++)
      last = await core.step(rows, options({ optimizer: { learningRate: 1e-2, maxGradNorm: 1 } }));
    expect(last.sums.loss).toBeLessThan(first.sums.loss / 3);
    expect(last.sums.nll).toBeCloseTo(last.sums.loss, 4);
  });

  test("W3: NaN injected at step 3 leaves parameters and moments bit-identical, and training goes on", async () => {
    const [core, undisturbed] = [await open(), await open()];
    for (const trainer of [core, undisturbed]) {
      trainer.captureReference();
      for (let step = 0; step < 2; step++) await trainer.step(rowsOf(6), options({ objective: grpo }));
    }
    const before = digest(core);
    const poisoned = rowsOf(6).map((row, i) =>
      i === 4 ? { ...row, advantages: row.advantages?.map(() => Number.NaN) ?? new Float32Array() } : row,
    );
    const result = await core.step(poisoned, options({ objective: grpo, microBatchSize: 2 }));
    expect([result.applied, result.gradNorm, result.optimizerStep]).toEqual([false, Number.NaN, 2]);
    expect(digest(core)).toBe(before);
    for (const trainer of [core, undisturbed]) await trainer.step(rowsOf(6), options({ objective: grpo }));
    expect(digest(core)).toBe(digest(undisturbed));
    expect(digest(core)).not.toBe(before);
  });

  test("D1: three runs of five steps end in the same bits", async () => {
    const run = async (): Promise<string> => {
      const core = await open({ ort: { driver: "native", ...testedEngine(), threads: 2 } });
      core.captureReference();
      for (let step = 0; step < 5; step++)
        await core.step(rowsOf(8), options({ objective: grpo, microBatchSize: 3 }));
      return digest(core);
    };
    expect(new Set([await run(), await run(), await run()]).size).toBe(1);
  });
});

describe("GRPO", () => {
  test("one update: the policy is its own past, ratio exactly 1", async () => {
    const core = await open();
    core.captureReference();
    const { sums } = await core.step(rowsOf(8), options({ objective: grpo, microBatchSize: 3 }));
    expect([sums.oldKl, sums.clipFraction]).toEqual([0, 0]);
    expect(sums.refKl).toBeCloseTo(0, 6); // the reference is the policy itself
    expect(sums.entropy).toBeGreaterThan(0);
  });

  test("several updates: old log-probs are those before the first, and the policy leaves them", async () => {
    const core = await open();
    core.captureReference();
    const change = { objective: grpo, epochs: 3, miniBatchSize: 4, optimizer: { learningRate: 2e-2 } };
    const { updates } = await core.step(rowsOf(8), options(change));
    expect(updates.length).toBe(6);
    expect(Math.abs(updates[0]?.sums.oldKl ?? 1)).toBeLessThan(1e-6);
    expect(Math.abs(updates[5]?.sums.oldKl ?? 0)).toBeGreaterThan(1e-4);
    expect(updates[5]?.sums.clipFraction).toBeGreaterThan(0);
  });

  test("a KL term without a reference, or no advantages, is refused with words", async () => {
    const core = await open();
    await expect(core.step(rowsOf(2), options({ objective: grpo }))).rejects.toThrow(/TRAINING_NO_REFERENCE/);
    core.captureReference();
    const bare = rowsOf(2).map(({ tokens, promptLength, lossMask }) => ({ tokens, promptLength, lossMask }));
    await expect(core.step(bare, options({ objective: grpo }))).rejects.toThrow(/TRAINING_ROW.*advantages/);
  });
});

test("T3: a restored trainer continues bit for bit", async () => {
  const core = await open();
  core.captureReference();
  for (let step = 0; step < 2; step++) await core.step(rowsOf(6), options({ objective: grpo }));
  const state = stateOf(core);
  const copy = structuredClone(state);
  await core.step(rowsOf(6), options({ objective: grpo }));
  expect(state).toEqual(copy); // W1: a snapshot is not written by later steps
  const resumed = await open({ weights: new Float32Array(weights.length) });
  resumed.restore(state);
  expect(stateOf(resumed)).toEqual(state);
  await resumed.step(rowsOf(6), options({ objective: grpo }));
  expect(digest(resumed)).toBe(digest(core));
});

test("X1: rows that do not fit are refused, naming row and reason, and nothing changes", async () => {
  const core = await open();
  const before = digest(core);
  const [good, other] = rowsOf(2) as [TrainingRow, TrainingRow];
  const bad: readonly (readonly [TrainingRow, RegExp])[] = [
    [{ ...other, tokens: other.tokens.map(() => 29) }, /row 1: token 29 at 0/],
    [{ ...other, lossMask: new Uint8Array(1) }, /row 1: lossMask has 1 elements/],
    [{ tokens: Int32Array.of(1), promptLength: 0, lossMask: Uint8Array.of(1) }, /row 1: 1 tokens/],
    [
      { tokens: new Int32Array(66), promptLength: 0, lossMask: new Uint8Array(66) },
      /row 1: 66 tokens; the model reads at most 64/,
    ],
  ];
  for (const [row, message] of bad) await expect(core.step([good, row], options())).rejects.toThrow(message);
  const untrained = { ...good, lossMask: new Uint8Array(good.tokens.length) };
  await expect(core.step([untrained], options())).rejects.toThrow(/TRAINING_NOTHING_TO_TRAIN/);
  await expect(core.step([good], options({ microBatchSize: 0 }))).rejects.toThrow(
    /TRAINING_OPTION.*microBatchSize/,
  );
  await expect(
    core.step([good], options({ objective: { ...grpo, entropyCoefficient: -0.01 } })),
  ).rejects.toThrow(/TRAINING_OPTION.*objective\.entropyCoefficient is -0\.01; accepted: a number from 0 to/);
  for (const change of [
    { learningRate: Number.NaN },
    { learningRate: 1, epsilon: 0 },
    { learningRate: 1, beta2: 1 },
  ]) {
    await expect(core.step([good], options({ optimizer: change }))).rejects.toThrow(
      /TRAINING_OPTION.*optimizer\./,
    );
  }
  expect(digest(core)).toBe(before);
});
