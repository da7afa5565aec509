/** The reference policy of an actor beside that of a trainer. */
import { initialWeights, type LlamaConfig, withScoreHead } from "@oarlock/nn";
import { initialNormals } from "@oarlock/rl";
import { testedEngine } from "@oarlock/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TrainerCore } from "./core.ts";
import { type CompletionCore, openCompletionCore } from "./completion-core.ts";
import type { TrainingRow } from "./types.ts";

/** An inner size on which, with more threads, the bits of a product do depend on the number of its rows. */
const config: LlamaConfig = {
  vocabSize: 97,
  hiddenSize: 512,
  intermediateSize: 96,
  layers: 2,
  heads: 2,
  kvHeads: 1,
  headSize: 32,
  ropeTheta: 10_000,
  ropeConvention: "half-split",
  rmsNormEps: 1e-5,
  maxPositions: 128,
  tiedEmbeddings: true,
  qkvBias: false,
  qkNorm: false,
};
/** Large weights show another order of additions; of them float32 is some thousandths from float64, so a card has smaller ones. */
const SCALE = testedEngine().provider === "cpu" ? 4 : 1;
const weights = initialWeights(config, (count, index) => initialNormals(7, index, count)).map(
  (weight) => SCALE * weight,
);
const ort = { driver: "native", ...testedEngine(), threads: 1 } as const;
const GROUP = 4;

/** Groups of a prompt each, with completions of 1 to 60 tokens. */
const rows: readonly TrainingRow[] = Array.from({ length: 6 * GROUP }, (_, index) => {
  const [group, sample] = [Math.floor(index / GROUP), index % GROUP];
  const promptLength = 1 + group * 5;
  const length = promptLength + 1 + ((group * 17 + sample * 13) % 60);
  const tokens = Int32Array.from({ length }, (__, t) =>
    t < promptLength ? (group * 31 + t * 7) % 97 : (group * 101 + sample * 57 + t * t * 3 + t) % 97,
  );
  return { tokens, promptLength, lossMask: new Uint8Array(length).fill(1, promptLength), group };
});

let trainer: TrainerCore;
let model: CompletionCore;
beforeAll(async () => {
  trainer = await TrainerCore.open({ config, weights, lanes: 2, ort });
  model = await openCompletionCore({ config, weights, ort });
});
afterAll(() => Promise.all([trainer.close(), model.close()]));

const bits = (logprobs: readonly Float32Array[]): string[] =>
  logprobs.map(({ buffer, byteOffset, byteLength }) =>
    Buffer.from(buffer, byteOffset, byteLength).toString("hex"),
  );

/** The same bits; on a card, which promises none, the same numbers up to rounding. */
function expectSame(found: readonly Float32Array[], expected: readonly Float32Array[]): void {
  if (testedEngine().provider === "cpu") expect(bits(found)).toEqual(bits(expected));
  else {
    expect(found.map(({ length }) => length)).toEqual(expected.map(({ length }) => length));
    const worst = found.flatMap((of, i) =>
      Array.from(of, (logprob, t) => Math.abs(logprob - expected[i]![t]!)),
    );
    expect(Math.max(...worst)).toBeLessThan(1e-4);
  }
}

test("D3: a completion's log-probs are the trainer's bits, whatever else is in either's micro-batches", async () => {
  const shuffled = Int32Array.from(rows.keys(), (index) => (index * 7) % rows.length);
  const takings = [
    { microBatchSize: 8 },
    { microBatchSize: 6, trainedOnly: true },
    { microBatchSize: 3, miniBatchSize: 12, order: shuffled, trainedOnly: true },
  ];
  const byTrainer = await Promise.all(
    takings.map(async (taking) => {
      const found = await trainer.logprobs(rows, "policy", { ...taking, temperature: 0.7 });
      return found.map((of, i) => of.slice(rows[i]!.promptLength));
    }),
  );
  for (const microBatchSize of [1, 3, GROUP]) {
    const found: Float32Array[] = [];
    for (let first = 0; first < rows.length; first += GROUP) {
      const call = { temperature: 0.7, microBatchSize };
      found.push(...(await model.perToken(rows.slice(first, first + GROUP), call)));
    }
    expect(found.every((of) => of.some((logprob) => logprob < 0))).toBe(true);
    for (const expected of byTrainer) expectSame(found, expected);
  }
});

test("refuses weights of another model, and rows that it cannot read", async () => {
  await expect(openCompletionCore({ config: withScoreHead(config), weights, ort })).rejects.toThrow(
    /of a model that gives score; accepted: \d+, of one that gives logits/,
  );
  await expect(openCompletionCore({ config, weights: weights.subarray(1), ort })).rejects.toThrow(/accepted/);
  const call = { temperature: 1, microBatchSize: 2 };
  await expect(model.perToken([{ tokens: Int32Array.of(5, 97), promptLength: 1 }], call)).rejects.toThrow(
    /row 0: token 97 at 1 is outside the vocabulary of 97/,
  );
});

test("stops between two passes where nobody waits any more", async () => {
  const stop = new AbortController();
  const call = { temperature: 1, microBatchSize: 1 };
  const begun = model.perToken(rows, call, stop.signal);
  stop.abort();
  await expect(begun).rejects.toMatchObject({ code: "TRAINING_ABORTED" });
});
