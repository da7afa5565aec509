import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { LlamaConfig } from "./config.ts";
import { initialWeights } from "./init.ts";
import { parameterCount, parameterLayout } from "./layout.ts";

/** The shape of the stories260K checkpoint. */
const stories: LlamaConfig = {
  vocabSize: 512,
  hiddenSize: 64,
  intermediateSize: 172,
  layers: 5,
  heads: 8,
  kvHeads: 4,
  headSize: 8,
  ropeTheta: 10_000,
  ropeConvention: "interleaved",
  rmsNormEps: 1e-5,
  maxPositions: 512,
  tiedEmbeddings: true,
  qkvBias: false,
  qkNorm: false,
};

const small = fc.integer({ min: 1, max: 9 });
const configs: fc.Arbitrary<LlamaConfig> = fc
  .record({
    vocabSize: small,
    hiddenSize: small,
    intermediateSize: small,
    layers: fc.integer({ min: 1, max: 3 }),
    groups: fc.integer({ min: 1, max: 3 }),
    kvHeads: fc.integer({ min: 1, max: 3 }),
    pairs: fc.integer({ min: 1, max: 3 }),
    tiedEmbeddings: fc.boolean(),
    qkvBias: fc.boolean(),
    qkNorm: fc.boolean(),
  })
  .map(({ groups, pairs, ...rest }) => ({
    ...stories,
    ...rest,
    heads: groups * rest.kvHeads,
    headSize: 2 * pairs,
  }));

describe("the layout", () => {
  it("counts the parameters of stories260K", () => {
    expect(parameterCount(stories)).toBe(260_032);
  });

  it("places every parameter once, in one view, views apart and aligned, the decayed ones first", () => {
    fc.assert(
      fc.property(configs, (config) => {
        const { parameters, views, length, decayLength } = parameterLayout(config);
        const owners = new Uint8Array(length);
        for (const { name, offset, size, decay, shape } of parameters) {
          expect(shape.reduce((product, dim) => product * dim, 1)).toBe(size);
          owners.subarray(offset, offset + size).forEach((_, i) => owners[offset + i]!++);
          expect({ name, before: offset + size <= decayLength }).toEqual({ name, before: decay });
        }
        expect(owners.every((count) => count <= 1)).toBe(true);
        for (const { offset, size } of views) {
          expect(offset % 16).toBe(0);
          expect(owners.subarray(offset, offset + size).every((count) => count === 1)).toBe(true);
        }
        const total = (list: readonly { size: number }[]) => list.reduce((sum, { size }) => sum + size, 0);
        expect(total(views)).toBe(total(parameters));
      }),
    );
  });

  it("has the names of a checkpoint", () => {
    const names = parameterLayout({
      ...stories,
      qkvBias: true,
      qkNorm: true,
      tiedEmbeddings: false,
    }).parameters.map((p) => p.name);
    expect(names).toEqual(
      expect.arrayContaining(["lm_head.weight", "model.layers.4.self_attn.q_norm.weight"]),
    );
    expect(names.filter((name) => name.startsWith("model.layers.0."))).toHaveLength(14);
    expect(parameterLayout(stories).parameters.map((p) => p.name)).not.toContain("lm_head.weight");
  });

  it("refuses what is no model, by field", () => {
    expect(() => parameterLayout({ ...stories, kvHeads: 3 })).toThrow(
      /kvHeads is 3; accepted: a divisor of heads \(8\)/,
    );
    expect(() => parameterLayout({ ...stories, headSize: 7 })).toThrow(
      /headSize is 7; accepted: an even number/,
    );
    expect(() => parameterLayout({ ...stories, layers: 0 })).toThrow(/layers is 0/);
    expect(() => parameterLayout({ ...stories, ropeTheta: Number.NaN })).toThrow(/ropeTheta is NaN/);
  });
});

describe("initial weights", () => {
  it("are normal with deviation 1/√inputs, less into the stream; norms one, biases and gaps zero", () => {
    const config = { ...stories, qkvBias: true, vocabSize: 511 };
    // ±1 in turn: a source of deviation 1 whose scale can be read off.
    const flat = initialWeights(config, (count) =>
      Float64Array.from({ length: count }, (_, i) => (i % 2 ? 1 : -1)),
    );
    const { parameters, length } = parameterLayout(config);
    const at = (name: string): number => Math.abs(flat[parameters.find((p) => p.name === name)!.offset]!);
    expect(at("model.embed_tokens.weight")).toBeCloseTo(1 / 8, 6);
    expect(at("model.layers.0.self_attn.q_proj.weight")).toBeCloseTo(1 / 8, 6);
    expect(at("model.layers.0.mlp.down_proj.weight")).toBeCloseTo(1 / Math.sqrt(172 * 10), 6);
    expect(at("model.layers.3.input_layernorm.weight")).toBe(1);
    expect(at("model.layers.3.self_attn.k_proj.bias")).toBe(0);
    const covered = parameters.reduce((sum, { size }) => sum + size, 0);
    const zeros = flat.filter((weight) => weight === 0).length;
    const biases = parameters
      .filter((p) => p.name.endsWith(".bias"))
      .reduce((sum, { size }) => sum + size, 0);
    expect(zeros).toBe(length - covered + biases);
  });
});
