/**
 * Reward model and critic against PyTorch (`LlamaForSequenceClassification` of transformers): scores, losses, and every
 * gradient, through the trainer's own graphs on ONNX Runtime.
 */
import { readFileSync } from "node:fs";
import { type LlamaConfig, parameterLayout } from "@oarlock/nn";
import { sequenceRow, stepsRow, TrainerCore, type Objective, type TrainingRow } from "@oarlock/training";
import { testedEngine } from "@oarlock/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { flatten, gap, type PackedArray, unpack } from "./llama-fixture.ts";

interface ScoreFixture {
  readonly config: LlamaConfig;
  readonly rows: number;
  readonly length: number;
  readonly lengths: readonly number[];
  readonly ids: readonly number[];
  readonly parameters: Readonly<Record<string, PackedArray>>;
  readonly textScores: readonly number[];
  readonly tokenScores: string;
  readonly pairs: {
    readonly margins: readonly number[];
    readonly centering: number;
    readonly loss: number;
    readonly gradients: Readonly<Record<string, PackedArray>>;
  };
  readonly rankings: Readonly<
    Record<
      "plackett-luce" | "all-pairs",
      { readonly loss: number; readonly gradients: Readonly<Record<string, PackedArray>> }
    >
  >;
  readonly steps: {
    /** Row, index of the step's last token, label. */
    readonly places: readonly (readonly [number, number, number])[];
    readonly loss: number;
    readonly gradients: Readonly<Record<string, PackedArray>>;
  };
  readonly values: {
    readonly clip: number;
    readonly returns: string;
    readonly oldValues: string;
    readonly loss: number;
    readonly gradients: Readonly<Record<string, PackedArray>>;
  };
}

/** What float32 rounding, PyTorch's and ONNX Runtime's, may change. */
const NOISE = { forward: 2e-6, gradient: 1e-5 };

const fixture = JSON.parse(
  readFileSync(new URL("../fixtures/nn/llama-score.json", import.meta.url), "utf8"),
) as ScoreFixture;
const layout = parameterLayout(fixture.config);
const texts = fixture.lengths.map((length, row) =>
  fixture.ids.slice(row * fixture.length, row * fixture.length + length),
);

/** A critic's rows: the value of token t + 1 is the fixture's score at t. */
function criticRows(): TrainingRow[] {
  const [returns, oldValues] = [unpack(fixture.values.returns), unpack(fixture.values.oldValues)];
  return texts.map((text, row) => {
    const shifted = (array: Float32Array): Float32Array => {
      const result = new Float32Array(text.length + 1);
      result.set(array.subarray(row * fixture.length, row * fixture.length + text.length), 1);
      return result;
    };
    const lossMask = new Uint8Array(text.length + 1).fill(1, 1);
    return { ...sequenceRow(text), lossMask, returns: shifted(returns), oldValues: shifted(oldValues) };
  });
}

let core: TrainerCore;
beforeAll(async () => {
  const weights = flatten(fixture.parameters, layout);
  core = await TrainerCore.open({ config: fixture.config, weights, ort: { ...testedEngine(), threads: 1 } });
});
afterAll(() => core.close());

/** One step that moves nothing: its loss, and its gradients before clipping. */
async function gradientsOf(rows: readonly TrainingRow[], objective: Objective, microBatchSize = 2) {
  const result = await core.step(rows, {
    objective,
    aggregation: "token-mean-global",
    optimizer: { learningRate: 0 },
    microBatchSize,
  });
  return { loss: result.sums.loss, gradient: core.gradients };
}

function expectGradients(own: Float32Array, named: Readonly<Record<string, PackedArray>>): void {
  const expected = flatten(named, layout);
  for (const { name, offset, size } of layout.parameters) {
    const distance = gap(own.subarray(offset, offset + size), expected.subarray(offset, offset + size));
    expect({ name, close: distance < NOISE.gradient, distance }).toMatchObject({ name, close: true });
  }
}

describe("a model with a score head", () => {
  it("gives whole texts and every token the scores of PyTorch", async () => {
    const rows = criticRows();
    const found = await core.scores(rows, { microBatchSize: 4 });
    const all = unpack(fixture.tokenScores);
    texts.forEach((text, row) => {
      const expected = all.subarray(row * fixture.length, row * fixture.length + text.length);
      expect(gap(found[row]!.subarray(1), expected)).toBeLessThan(NOISE.forward);
      expect(found[row]!.at(-1)).toBeCloseTo(fixture.textScores[row]!, 5);
    });
  });

  it("has the reward model's loss and gradients of PyTorch, a pair a micro-batch", async () => {
    const rows = texts.map((text, row) =>
      sequenceRow(text, row % 2 === 0 ? fixture.pairs.margins[row / 2] : 0),
    );
    const { centering, loss, gradients } = fixture.pairs;
    const own = await gradientsOf(rows, { type: "pairs", centering });
    expect(Math.abs(own.loss - loss) / loss).toBeLessThan(NOISE.forward);
    expectGradients(own.gradient, gradients);
  });

  it.each(["plackett-luce", "all-pairs"] as const)(
    "has the loss and gradients of PyTorch over a ranking: %s",
    async (name) => {
      const { loss, gradients } = fixture.rankings[name];
      const rows = texts.map((text) => sequenceRow(text));
      const own = await gradientsOf(rows, { type: "ranking", loss: name, answers: 4 }, 4);
      expect(Math.abs(own.loss - loss) / loss).toBeLessThan(NOISE.forward);
      expectGradients(own.gradient, gradients);
    },
  );

  it("has the process reward model's loss and gradients of PyTorch, over labelled steps", async () => {
    const { places, loss, gradients } = fixture.steps;
    const rows = texts.map((text, row) =>
      stepsRow(
        text,
        places.filter(([of]) => of === row).map(([, end, label]) => ({ end, label })),
      ),
    );
    const own = await gradientsOf(rows, { type: "steps" });
    expect(Math.abs(own.loss - loss) / loss).toBeLessThan(NOISE.forward);
    expectGradients(own.gradient, gradients);
  });

  it("has the critic's loss and gradients of PyTorch", async () => {
    const { clip, loss, gradients } = fixture.values;
    const own = await gradientsOf(criticRows(), { type: "value", clip });
    expect(Math.abs(own.loss - loss) / loss).toBeLessThan(NOISE.forward);
    expectGradients(own.gradient, gradients);
  });
});
