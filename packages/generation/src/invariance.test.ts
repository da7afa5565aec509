/**
 * D3 where it could break: matrix products whose bits depend, in ONNX Runtime, on the number of rows once weights are
 * inputs and threads share the work. The shapes are those on which that was measured; small models do not show it.
 */
import type { LlamaConfig } from "@oarlock/nn";
import { openOrt, type OrtRuntime } from "@oarlock/ort";
import { testedEngine } from "@oarlock/testkit";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DecodeEngine, type Prefix } from "./engine.ts";
import { seededRequest, seededWeights } from "./testing.ts";
import type { WeightLayout } from "./types.ts";

const SLOTS = 256;
const PROMPTS = 24;

/** One layer whose q, k, v product has these inner and outer sizes. */
function shaped(hiddenSize: number, heads: number, headSize: number): LlamaConfig {
  return {
    vocabSize: 64,
    hiddenSize,
    intermediateSize: 96,
    layers: 1,
    heads,
    kvHeads: 1,
    headSize,
    ropeTheta: 10_000,
    ropeConvention: "half-split",
    rmsNormEps: 1e-5,
    maxPositions: 64,
    tiedEmbeddings: true,
    qkvBias: false,
    qkNorm: false,
  };
}
const shapes = {
  "K 512, N 128": shaped(512, 2, 32),
  "K 576, N 192": shaped(576, 1, 64),
  "K 896, N 128": shaped(896, 2, 32),
  "K 768, N 256": shaped(768, 2, 64),
};
const plans: readonly { layout: WeightLayout; threads: number }[] = [
  { layout: "inputs", threads: 1 },
  ...[1, 2, 4, 8].map((threads) => ({ layout: "initializers" as const, threads })),
];

let ort: OrtRuntime;
beforeAll(async () => {
  ort = await openOrt({ ...testedEngine(), threads: 1 });
});
afterAll(() => ort.close());

const bits = (numbers: Float32Array): string =>
  Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength).toString("base64");

const kept = ({ cache }: Prefix): string[] =>
  cache.memory.map((memory) => bits(memory instanceof Float32Array ? memory : new Float32Array()));

/** Ragged prompts, 1 to 30 tokens. */
const promptsOf = (config: LlamaConfig) =>
  Array.from({ length: PROMPTS }, (_, group) => ({
    ids: seededRequest({ config, group, length: 1 + ((group * 11) % 30), samples: 1 }).prompt,
    inverseTemperature: 1,
  }));

/** The probabilities after one decode step over `order`: entry i of it sits in slot i. By entry. */
async function step(
  engine: DecodeEngine,
  prefixes: readonly Prefix[],
  order: readonly number[],
): Promise<string[]> {
  engine.reserve(40);
  order.forEach((which, slot) => {
    const prefix = prefixes[which % PROMPTS]!;
    engine.place(prefix, slot);
    engine.ids[slot] = which % 64;
    engine.positions[slot] = prefix.length;
  });
  await engine.decode(order.length);
  return order.map((_, slot) => bits(engine.probabilities.subarray(slot * 64, (slot + 1) * 64)));
}

// Bits are promised on processors only.
describe.skipIf(testedEngine().provider !== "cpu").each(Object.entries(shapes))(
  "D3: bits do not depend on the batch, %s",
  (_, config) => {
    it.each(plans)("weights as $layout, $threads threads", async ({ layout, threads }) => {
      const engine = new DecodeEngine({
        ort,
        config,
        layout,
        threads,
        slots: SLOTS,
        maxLength: config.maxPositions,
      });
      await engine.load(seededWeights(config));
      const prompts = promptsOf(config);
      const alone: Prefix[] = [];
      for (const prompt of prompts) alone.push(...(await engine.prefill([prompt])));
      const stepAlone: string[] = [];
      for (let which = 0; which < SLOTS; which++) stepAlone.push(...(await step(engine, alone, [which])));

      const prefill = fc.asyncProperty(
        fc.shuffledSubarray([...prompts.keys()], { minLength: 1 }),
        async (order) => {
          const together = await engine.prefill(order.map((which) => prompts[which]!));
          order.forEach((which, i) => {
            expect(bits(together[i]!.probabilities)).toBe(bits(alone[which]!.probabilities));
            expect(kept(together[i]!)).toEqual(kept(alone[which]!));
          });
        },
      );
      await fc.assert(prefill, { numRuns: 8 });

      const entries = Array.from({ length: SLOTS }, (__, which) => which);
      const sizes = fc.oneof(
        fc.constantFrom(2, 64, 96, 100, 127, 128, 129, 192, 256),
        fc.integer({ min: 2, max: SLOTS }),
      );
      const decode = fc.asyncProperty(
        fc.shuffledSubarray(entries, { minLength: SLOTS }),
        sizes,
        async (order, size) => {
          const batch = order.slice(0, size);
          expect(await step(engine, alone, batch)).toEqual(batch.map((which) => stepAlone[which]));
        },
      );
      await fc.assert(decode, {
        numRuns: 10,
        examples: [
          [entries, 256],
          [entries.toReversed(), 100],
        ],
      });
      await engine.close();
    });
  },
);
