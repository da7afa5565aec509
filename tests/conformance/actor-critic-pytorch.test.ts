/**
 * A policy with a value head on its trunk against PyTorch: log-probs, values, the loss of PPO with both, and every gradient,
 * through the trainer's own graphs on ONNX Runtime.
 */
import { readFileSync } from "node:fs";
import { type LlamaConfig, parameterLayout } from "@oarlock/nn";
import { type Objective, TrainerCore, type TrainingRow } from "@oarlock/training";
import { testedEngine } from "@oarlock/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { flatten, gap, type PackedArray, unpack } from "./llama-fixture.ts";

type Tokens = "logprobs" | "values" | "oldLogprobs" | "oldValues" | "advantages" | "returns";
type Fixture = Readonly<Record<Tokens, string>> & {
  readonly config: LlamaConfig;
  readonly length: number;
  readonly promptLength: number;
  readonly lengths: readonly number[];
  readonly ids: readonly number[];
  readonly clip: number;
  readonly valueClip: number;
  readonly coefficient: number;
  readonly entropyCoefficient: number;
  readonly parameters: Readonly<Record<string, PackedArray>>;
  readonly loss: number;
  readonly valueLoss: number;
  readonly gradients: Readonly<Record<string, PackedArray>>;
  readonly warmup: {
    readonly updates: number;
    readonly learningRate: number;
    readonly weightDecay: number;
    readonly maxGradNorm: number;
  };
  readonly afterWarmup: Readonly<Record<string, PackedArray>>;
};

/** What float32 rounding, PyTorch's and ONNX Runtime's, may change. */
const NOISE = { forward: 2e-6, gradient: 1e-5 };

const fixture = JSON.parse(
  readFileSync(new URL("../fixtures/nn/llama-actor-critic.json", import.meta.url), "utf8"),
) as Fixture;
const layout = parameterLayout(fixture.config);

/** Of each row, an array beside its tokens: the fixture's begin with the second token. */
function besides(name: Tokens): Float32Array[] {
  const all = unpack(fixture[name]);
  return fixture.lengths.map((length, row) => {
    const beside = new Float32Array(length);
    const start = row * (fixture.length - 1);
    beside.set(all.subarray(start, start + length - 1), 1);
    return beside;
  });
}

function rows(): TrainingRow[] {
  const [oldLogprobs, oldValues] = [besides("oldLogprobs"), besides("oldValues")];
  const [advantages, returns] = [besides("advantages"), besides("returns")];
  return fixture.lengths.map((length, row) => ({
    tokens: Int32Array.from(fixture.ids.slice(row * fixture.length, row * fixture.length + length)),
    promptLength: fixture.promptLength,
    lossMask: new Uint8Array(length).fill(1, fixture.promptLength),
    oldLogprobs: oldLogprobs[row]!,
    oldValues: oldValues[row]!,
    advantages: advantages[row]!,
    returns: returns[row]!,
  }));
}

let core: TrainerCore;
beforeAll(async () => {
  const weights = flatten(fixture.parameters, layout);
  core = await TrainerCore.open({ config: fixture.config, weights, ort: { ...testedEngine(), threads: 1 } });
});
afterAll(() => core.close());

/** The loss of PPO with both. */
const objective: Objective = {
  type: "grpo",
  clip: { low: fixture.clip, high: fixture.clip },
  klCoefficient: 0,
  klEstimator: "k3",
  entropyCoefficient: fixture.entropyCoefficient,
  value: { clip: fixture.valueClip, coefficient: fixture.coefficient },
};

describe("a policy with a value head on its trunk", () => {
  it("gives the log-probs and the values of PyTorch", async () => {
    const logprobs = await core.logprobs(rows(), "policy", { microBatchSize: 4 });
    const values = await core.scores(rows(), { microBatchSize: 4 });
    for (const [row, expected] of besides("logprobs").entries())
      expect(gap(logprobs[row]!, expected)).toBeLessThan(NOISE.forward);
    for (const [row, expected] of besides("values").entries())
      expect(gap(values[row]!, expected)).toBeLessThan(NOISE.forward);
  });

  it("has the loss and the gradients of PyTorch, of the trunk and of both heads", async () => {
    const { loss, valueLoss } = fixture;
    const result = await core.step(rows(), {
      objective,
      aggregation: "token-mean-global",
      optimizer: { learningRate: 0 },
      microBatchSize: 2,
    });
    expect(Math.abs(result.sums.loss - loss) / Math.abs(loss)).toBeLessThan(1e-5);
    expect(Math.abs(result.sums.valueLoss - valueLoss) / valueLoss).toBeLessThan(NOISE.forward);
    const expected = flatten(fixture.gradients, layout);
    for (const { name, offset, size } of layout.parameters) {
      const distance = gap(
        core.gradients.subarray(offset, offset + size),
        expected.subarray(offset, offset + size),
      );
      expect({ name, close: distance < NOISE.gradient, distance }).toMatchObject({ name, close: true });
    }
  });

  it("also learns from supervised rows, which have nothing to say to the value head", async () => {
    const { sums } = await core.step(rows(), {
      objective: { type: "sft" },
      aggregation: "token-mean-global",
      optimizer: { learningRate: 0 },
      microBatchSize: 4,
    });
    expect(sums.nll).toBeGreaterThan(0);
    const { offset, size } = layout.parameters.find(({ name }) => name === "score.weight")!;
    expect(core.gradients.subarray(offset, offset + size).every((one) => one === 0)).toBe(true);
  });

  it("is where PyTorch's AdamW gets to after a warm-up of the value head alone", async () => {
    const { updates, ...optimizer } = fixture.warmup;
    const weights = flatten(fixture.parameters, layout);
    const warming = await TrainerCore.open({
      config: fixture.config,
      weights,
      ort: { ...testedEngine(), threads: 1 },
    });
    try {
      const step = { aggregation: "token-mean-global", optimizer, microBatchSize: 2 } as const;
      const alone: Objective = { type: "value", clip: fixture.valueClip, headOnly: true };
      for (let update = 0; update < updates; update++)
        await warming.step(rows(), { ...step, objective: alone });
      await warming.step(rows(), { ...step, objective });
      const expected = flatten(fixture.afterWarmup, layout);
      expect(gap(warming.weights, expected)).toBeLessThan(NOISE.gradient);
      // That the head has had three updates and all else one is seen: the first are of the size of the rate.
      expect(gap(weights, expected)).toBeGreaterThan(100 * NOISE.gradient);
    } finally {
      await warming.close();
    }
  });
});
