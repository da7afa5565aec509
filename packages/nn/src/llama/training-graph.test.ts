/** The training graph in float64: its gradients against central differences, for each member of the family. */
import { centralDifferences, gradients, relativeGap } from "@oarlock/autodiff";
import {
  add,
  createGraph,
  evaluate,
  type EvaluateFeed,
  type Graph,
  mul,
  reduceSum,
  sizeInputs,
} from "@oarlock/onnx";
import { describe, expect, it } from "vitest";
import type { LlamaConfig } from "../config.ts";
import { initialWeights } from "../init.ts";
import { parameterLayout } from "../layout.ts";
import { rotaryTables } from "./rotary.ts";
import { llamaTraining, type LlamaTrainingOptions } from "./training-graph.ts";

const plain: LlamaConfig = {
  vocabSize: 7,
  hiddenSize: 6,
  intermediateSize: 5,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headSize: 4,
  ropeTheta: 10_000,
  ropeConvention: "half-split",
  rmsNormEps: 1e-5,
  maxPositions: 8,
  tiedEmbeddings: true,
  qkvBias: false,
  qkNorm: false,
};
const family: Record<string, LlamaConfig> = {
  "Llama, grouped heads, tied head": plain,
  "Llama, interleaved rotation, untied head": {
    ...plain,
    ropeConvention: "interleaved",
    tiedEmbeddings: false,
  },
  "Qwen2, with biases": { ...plain, qkvBias: true, kvHeads: 4 },
  "Qwen3, with q and k norms": { ...plain, qkNorm: true, kvHeads: 1, tiedEmbeddings: false },
};
const [B, T] = [2, 3];
const ids = [1, 5, 2, 3, 3, 0];
const targets = [5, 2, 6, 3, 0, 1];

/** Numbers in −1 … 1 that depend on the index alone. */
const wave = (count: number, seed: number): Float64Array =>
  Float64Array.from({ length: count }, (_, i) => Math.sin(12.9898 * (i + 1) + 78.233 * seed));

function lossGraph(options: LlamaTrainingOptions): Graph {
  const graph = createGraph("training");
  const { logprobs, entropy, weights, logits } = llamaTraining(graph, options);
  const a = graph.input("a", "float32", logprobs.shape);
  const loss = reduceSum(add(mul(logprobs, a), mul(entropy, mul(a, 0.3))));
  graph.output("loss", loss);
  graph.output("logprobs", logprobs);
  graph.output("logits", logits);
  const { views } = parameterLayout(options.config);
  const found = gradients(
    loss,
    views.map(({ name }) => weights(name)),
  );
  views.forEach(({ name }, i) => graph.output(`d.${name}`, found[i]!));
  return graph;
}

function feedsOf(config: LlamaConfig): Record<string, EvaluateFeed> {
  const flat = initialWeights(config, (count, index) => wave(count, index + 1));
  // Norms and biases away from 1 and 0, so that their place in the formulas shows.
  const moved = flat.map((weight, i) => (weight === 0 || weight === 1 ? weight + 0.3 * Math.sin(i) : weight));
  const feeds: Record<string, EvaluateFeed> = {
    ids: { shape: [B, T], data: ids },
    positions: { shape: [B, T], data: [0, 1, 2, 0, 1, 2] },
    targets: { shape: [B * T], data: targets },
    a: { shape: [B * T], data: wave(B * T, 50) },
  };
  for (const { name, shape, offset, size } of parameterLayout(config).views) {
    feeds[name] = { shape, data: Float64Array.from(moved.subarray(offset, offset + size)) };
  }
  return feeds;
}

/** Tables of more positions than are read. */
function tablesOf(config: LlamaConfig): Record<string, EvaluateFeed> {
  const { cos, sin } = rotaryTables(config, config.maxPositions);
  const shape = [config.maxPositions, config.headSize / 2];
  return { cos: { shape, data: cos }, sin: { shape, data: sin } };
}

describe("every gradient agrees with central differences in float64", () => {
  for (const [name, config] of Object.entries(family)) {
    it(`of ${name}`, () => {
      const graph = lossGraph({ config, batch: B, length: T });
      const feeds = feedsOf(config);
      const results = evaluate(graph, feeds);
      for (const { name: view } of parameterLayout(config).views) {
        const expected = centralDifferences(graph, { loss: "loss", input: view, feeds });
        expect({ view, gap: relativeGap(results[`d.${view}`]!.data, expected) }).toEqual({
          view,
          gap: expect.closeTo(0, 6),
        });
      }
    });
  }
});

describe("the training graph", () => {
  const feeds = feedsOf(plain);

  it("is the same with names for the number of rows and their length", () => {
    const fixed = evaluate(lossGraph({ config: plain, batch: B, length: T }), feeds);
    const named = evaluate(lossGraph({ config: plain, batch: "rows", length: "tokens" }), {
      ...feeds,
      ...tablesOf(plain),
    });
    expect(named).toEqual(fixed);
  });

  it("gives chosen tokens what it gives all", () => {
    const all = evaluate(lossGraph({ config: plain, batch: B, length: T }), feeds);
    const graph = lossGraph({ config: plain, batch: B, length: T, chosen: "chosen" });
    const chosen = [4, 1];
    const some = evaluate(graph, {
      ...feeds,
      chosen: { shape: [2], data: chosen },
      targets: { shape: [2], data: chosen.map((i) => targets[i]!) },
      a: { shape: [2], data: [0.5, 0.25] },
    });
    chosen.forEach((token, i) =>
      expect(some["logprobs"]!.data[i]).toBeCloseTo(all["logprobs"]!.data[token]!, 12),
    );
  });

  it("reads a prefix of all rows once: the same logits and gradients as with a copy in each row", () => {
    for (const config of Object.values(family)) {
      const weights = feedsOf(config);
      const prefix = [1, 5];
      const rows = [prefix.concat(2, 3, 0), prefix.concat(6, 4, 4)];
      const [B, T, P] = [2, 3, prefix.length];
      const places = [0, 1, 2, 3, 4]; // of a row
      const a = wave(2 * 5, 50);
      const copied = evaluate(lossGraph({ config, batch: B, length: P + T }), {
        ...weights,
        ids: { shape: [B, P + T], data: rows.flat() },
        positions: { shape: [B, P + T], data: [...places, ...places] },
        targets: { shape: [B * (P + T)], data: [5, 2, 3, 0, 1, 5, 6, 4, 4, 2] },
        a: { shape: [B * (P + T)], data: a },
      });
      const feeds = {
        ...weights,
        ids: { shape: [P + B * T], data: [...prefix, ...rows.flatMap((row) => row.slice(P))] },
        positions: { shape: [B, T], data: [2, 3, 4, 2, 3, 4] },
        prefixPositions: { shape: [1, P], data: [0, 1] },
        chosen: { shape: [10], data: [0, 1, 2, 3, 4, 0, 1, 5, 6, 7] },
        targets: { shape: [10], data: [5, 2, 3, 0, 1, 5, 6, 4, 4, 2] },
        a: { shape: [10], data: a },
      };
      const once = evaluate(lossGraph({ config, batch: B, prefix: P, length: T, chosen: "chosen" }), feeds);
      const named = { batch: "rows", prefix: "prefix", length: "tokens", chosen: "chosen" };
      const graph = lossGraph({ config, ...named });
      // The sizes of a flat axis do not follow from its own: the row's and the prefix's positions have them.
      expect(sizeInputs(graph).length).toBeGreaterThan(0);
      expect(evaluate(graph, { ...feeds, ...tablesOf(config) })).toEqual(once);
      for (const name of ["logits", ...parameterLayout(config).views.map(({ name }) => `d.${name}`)])
        expect(relativeGap(once[name]!.data, copied[name]!.data)).toBeLessThan(1e-12);
    }
  });

  it("shows no token what comes after it: padding at the right changes nothing", () => {
    const graph = lossGraph({ config: plain, batch: B, length: T });
    const before = evaluate(graph, feeds)["logits"]!.data;
    const after = evaluate(graph, { ...feeds, ids: { shape: [B, T], data: [1, 5, 6, 3, 3, 6] } })["logits"]!
      .data;
    const V = plain.vocabSize;
    expect(after.slice(0, 2 * V)).toEqual(before.slice(0, 2 * V));
    expect(after.slice(2 * V, 3 * V)).not.toEqual(before.slice(2 * V, 3 * V));
    expect(after.slice(3 * V, 5 * V)).toEqual(before.slice(3 * V, 5 * V));
  });

  it("refuses rows that are longer than the model's positions", () => {
    const rows = { config: plain, batch: B, chosen: "chosen" };
    for (const lengths of [{ length: 9 }, { length: 4, prefix: 5 }, { length: "tokens", prefix: 9 }])
      expect(() => lossGraph({ ...rows, ...lengths })).toThrow(/rows of 9 tokens; this model takes 8/);
  });

  it("sharpens the distribution by the temperature", () => {
    const hot = evaluate(lossGraph({ config: plain, batch: B, length: T, temperature: 2 }), feeds)["logits"]!
      .data;
    const plainLogits = evaluate(lossGraph({ config: plain, batch: B, length: T }), feeds)["logits"]!.data;
    hot.forEach((logit, i) => expect(logit).toBeCloseTo(plainLogits[i]! / 2, 12));
  });
});
