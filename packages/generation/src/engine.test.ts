import { createGraph, reshape, serializeModel } from "@oarlock/onnx";
import {
  causalAttention,
  declareWeights,
  type LlamaConfig,
  llamaLogits,
  llamaStack,
  parameterLayout,
  tokenLogprobs,
} from "@oarlock/nn";
import { openOrt, type OrtRuntime } from "@oarlock/ort";
import { testedEngine } from "@oarlock/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Batcher } from "./batcher.ts";
import { DecodeEngine, type Prefix } from "./engine.ts";
import { runToEnd, seededRequest, seededWeights, type Setup, tinyConfig, tokensOf } from "./testing.ts";
import type { Completion, GenerationRequest } from "./types.ts";

let ort: OrtRuntime;
beforeAll(async () => {
  ort = await openOrt({ ...testedEngine(), threads: 1 });
});
afterAll(() => ort.close());

const generate = (setup: Omit<Setup, "engine"> & Partial<Setup>, requests: readonly GenerationRequest[]) =>
  runToEnd({ engine: ort, ...setup }, requests);

/** As `generate` of one request, with other weights from the decode step of that number on. */
async function switched(
  { config, weights }: Pick<Setup, "config" | "weights">,
  request: GenerationRequest,
  to: { readonly weights: Float32Array; readonly afterTicks: number },
): Promise<readonly Completion[]> {
  const shape = { config, layout: "inputs", threads: 1, slots: 8, maxLength: config.maxPositions } as const;
  const engine = new DecodeEngine({ ort, ...shape });
  let results: readonly Completion[] = [];
  const batcher = new Batcher({
    engine,
    vocabulary: config.vocabSize,
    slots: shape.slots,
    maxWaiting: 1000,
    handlers: {
      completed: (_, completions) => (results = completions),
      failed: (_, reason) => {
        throw reason;
      },
    },
  });
  const change = (number: number, flat: Float32Array) => async () => {
    await engine.load(flat);
    return { number, digest: `digest-${number}` };
  };
  batcher.switch(change(3, weights));
  batcher.submit(request);
  for (let tick = 0; batcher.busy; tick++) {
    if (tick === to.afterTicks) batcher.switch(change(4, to.weights));
    await batcher.tick();
  }
  await engine.close();
  return results;
}

describe("a change of weights in flight", () => {
  const config = tinyConfig;
  const weights = seededWeights(config);
  const request = seededRequest({ config, group: 0, length: 4, samples: 3 });

  it("W2: takes over at a token boundary, and every token says which weights drew it", async () => {
    const plain = (await generate({ config, weights }, [request])).get(request.id) ?? [];
    const other = weights.map((weight, i) => weight * (1 + 0.3 * Math.sin(i)));
    const completions = await switched({ config, weights }, request, { weights: other, afterTicks: 3 });
    expect(completions).toHaveLength(3);
    for (const [i, { tokens, logprobs, segments, version }] of completions.entries()) {
      // The first tick draws one token from the prompt and one from a decode step, the others one each.
      expect(segments).toMatchObject([
        { start: 0, end: 4, version: { number: 3 } },
        { start: 4, end: tokens.length, version: { number: 4 } },
      ]);
      expect(version.number).toBe(4);
      expect(tokens.slice(0, 4)).toEqual(plain[i]?.tokens.slice(0, 4));
      expect(logprobs.slice(0, 4)).toEqual(plain[i]?.logprobs.slice(0, 4));
      expect(logprobs.slice(4)).not.toEqual(plain[i]?.logprobs.slice(4));
    }
  });

  it("to the same weights changes no token: keys and values are kept", async () => {
    const plain = (await generate({ config, weights }, [request])).get(request.id) ?? [];
    const completions = await switched({ config, weights }, request, { weights, afterTicks: 3 });
    expect(completions.map(({ tokens }) => tokens)).toEqual(plain.map(({ tokens }) => tokens));
    expect(completions.map(({ logprobs }) => logprobs)).toEqual(plain.map(({ logprobs }) => logprobs));
  });
});

/** Log-probs of `tokens` (after the first) by one full forward pass of the training graph's definition: the oracle. */
async function fullForward(
  config: LlamaConfig,
  weights: Float32Array,
  tokens: Int32Array,
  temperature = 1,
): Promise<Float32Array> {
  const graph = createGraph("oracle");
  const length = tokens.length;
  const ids = graph.input("ids", "int64", [length]);
  const targets = graph.input("targets", "int64", [length]);
  const positions = graph.input("positions", "int64", [1, length]);
  const lookup = declareWeights(graph, config);
  const attention = causalAttention(graph, { config, positions });
  const stream = reshape(llamaStack({ config, weights: lookup, ids, attention }), [-1, config.hiddenSize]);
  const logits = llamaLogits({ config, weights: lookup, stream, temperature });
  graph.output("logprobs", tokenLogprobs(logits, targets).logprobs);
  const session = await ort.createSession(serializeModel(graph), { threads: 1 });
  const int64 = (values: readonly number[], shape: number[]) =>
    ort.tensor("int64", shape, BigInt64Array.from(values, BigInt));
  const fed = Object.fromEntries(
    parameterLayout(config).views.map(({ name, shape, offset, size }) => [
      name,
      ort.tensor("float32", shape, weights.subarray(offset, offset + size)),
    ]),
  );
  const inputs = {
    ...fed,
    ids: int64([...tokens], [length]),
    targets: int64([...tokens.subarray(1), 0], [length]),
    positions: int64([...tokens.keys()], [1, length]),
  };
  const logprobs = ort.tensor("float32", [length]);
  session.runSync(session.bind(inputs, { logprobs }));
  await session.close();
  return Float32Array.from(logprobs.data, Number).subarray(0, length - 1);
}

const families: Record<string, Partial<LlamaConfig>> = {
  "llama2.c: heads of 6, interleaved pairs, tied head": {},
  "Llama: heads of 16, half-split pairs, a head of its own": {
    headSize: 16,
    ropeConvention: "half-split",
    tiedEmbeddings: false,
  },
  "SmolLM: three heads to a key-value head": {
    heads: 3,
    kvHeads: 1,
    headSize: 8,
    ropeConvention: "half-split",
    ropeTheta: 1e5,
  },
  "Qwen2: biases": { qkvBias: true, ropeConvention: "half-split" },
  "Qwen3: q and k normalised, heads that need padding": {
    qkNorm: true,
    headSize: 10,
    ropeConvention: "half-split",
  },
  "Qwen3: q and k normalised, heads of 32": {
    qkNorm: true,
    headSize: 32,
    ropeConvention: "half-split",
    tiedEmbeddings: false,
  },
};

describe("behaviour log-probs", () => {
  const cases = Object.entries(families).flatMap(([name, change]) =>
    (["inputs", "initializers"] as const).map((layout) => ({
      name,
      layout,
      config: { ...tinyConfig, ...change },
    })),
  );
  it.each(cases)(
    "agree with a full forward pass to 1e-4: $name, weights as $layout",
    async ({ layout, config }) => {
      const weights = seededWeights(config);
      const requests = [1, 7, 20].map((length, group) =>
        seededRequest({ config, group, length, samples: 3, params: { maxNewTokens: 20 } }),
      );
      const results = await generate({ config, weights, layout, slots: 4 }, requests);
      for (const { id, prompt } of requests) {
        for (const { tokens, logprobs, finishReason, version } of results.get(id)!) {
          expect([finishReason, version.number, tokens.length]).toEqual(["length", 3, 20]);
          const expected = (await fullForward(config, weights, Int32Array.of(...prompt, ...tokens))).subarray(
            prompt.length - 1,
          );
          const worst = Math.max(...expected.map((value, i) => Math.abs(value - logprobs[i]!)));
          expect(worst).toBeLessThan(1e-4);
        }
      }
    },
  );

  it("are those of the distribution after temperature", async () => {
    const weights = seededWeights(tinyConfig);
    const request = seededRequest({
      config: tinyConfig,
      group: 0,
      length: 5,
      samples: 1,
      params: { temperature: 0.7 },
    });
    const [completion] = (await generate({ config: tinyConfig, weights }, [request])).get(request.id)!;
    const all = Int32Array.of(...request.prompt, ...completion!.tokens);
    const expected = (await fullForward(tinyConfig, weights, all, 0.7)).subarray(4);
    expected.forEach((value, i) => expect(completion!.logprobs[i]).toBeCloseTo(value, 4));
  });
});

// Bits are promised on processors only.
describe.skipIf(testedEngine().provider !== "cpu")(
  "D3: a completion depends on nothing else in the batch",
  () => {
    const config = tinyConfig;
    const weights = seededWeights(config);
    const requests = Array.from({ length: 9 }, (_, group) =>
      seededRequest({
        config,
        group,
        length: 1 + ((group * 5) % 23),
        samples: 1 + (group % 4),
        params: { maxNewTokens: 3 + ((group * 7) % 19) },
      }),
    );
    const bits = (results: Map<string, readonly Completion[]>) =>
      [...results]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([id, completions]) => [
          id,
          completions.map((c) => [c.sample, c.tokens.join(), new Uint32Array(c.logprobs.buffer).join()]),
        ]);

    it.each([
      { slots: 1, reversed: false, layout: "inputs" as const, threads: 1 },
      { slots: 3, reversed: true, layout: "inputs" as const, threads: 1 },
      { slots: 64, reversed: false, layout: "inputs" as const, threads: 1 },
      { slots: 2, reversed: true, layout: "initializers" as const, threads: 2 },
      { slots: 64, reversed: false, layout: "initializers" as const, threads: 1 },
    ])(
      "$slots slots, reversed $reversed, weights as $layout, $threads threads",
      async ({ slots, reversed, layout, threads }) => {
        const expected = await generate({ config, weights, layout, slots: 8 }, requests);
        const got = await generate(
          { config, weights, layout, slots, threads },
          reversed ? requests.toReversed() : requests,
        );
        expect(bits(got)).toEqual(bits(expected));
      },
    );

    /** State where a card has it: its own memory, in which rows are copied from each other. */
    const card = (): OrtRuntime => ({
      ...ort,
      residence: "device",
      deviceTensor: (dtype, shape) => ort.tensor(dtype, shape),
    });

    it.each([1, 3, 8])("nor on whether rows are copied as on a card, %i slots", async (slots) => {
      const expected = await generate({ config, weights, slots }, requests);
      const got = await generate({ config, weights, slots, engine: card() }, requests);
      expect(bits(got)).toEqual(bits(expected));
    });

    it("nor, on a card, on rows that were moved or only padded since", async () => {
      const run = async (runtime: OrtRuntime): Promise<number[]> => {
        const shape = { config, layout: "inputs", threads: 1, slots: 8, maxLength: 64 } as const;
        const engine = new DecodeEngine({ ort: runtime, ...shape });
        await engine.load(weights);
        const [first, second] = await engine.prefill(
          requests.slice(0, 2).map(({ prompt }) => ({ ids: prompt, inverseTemperature: 1 })),
        );
        engine.reserve(32);
        const seat = (prefix: Prefix | undefined, slot: number): void => {
          engine.place(prefix!, slot);
          [engine.ids[slot], engine.positions[slot]] = [5, prefix!.length];
        };
        seat(first, 0);
        seat(second, 1);
        engine.move(1, 0);
        seat(first, 1);
        await engine.decode(1);
        seat(first, 2);
        seat(second, 1);
        await engine.decode(3);
        await engine.close();
        return Array.from(engine.probabilities.subarray(0, 3 * config.vocabSize));
      };
      expect(await run(card())).toEqual(await run(ort));
    });

    it("nor on what ran before in its slot, or on new weights that came and went", async () => {
      const alone = await generate({ config, weights, slots: 2 }, [requests[4]!]);
      const after = await generate({ config, weights, slots: 2 }, requests);
      expect(bits(new Map([[requests[4]!.id, after.get(requests[4]!.id)!]]))).toEqual(bits(alone));
    });
  },
);

describe("the portable driver", () => {
  it.each(["inputs", "initializers"] as const)("draws the same tokens, weights as %s", async (layout) => {
    const binding = await openOrt({ driver: "binding", threads: 1 });
    try {
      const weights = seededWeights(tinyConfig);
      const requests = [3, 12].map((length, group) =>
        seededRequest({ config: tinyConfig, group, length, samples: 3 }),
      );
      const expected = await generate({ config: tinyConfig, weights, layout }, requests);
      const got = await generate({ config: tinyConfig, weights, layout, engine: binding }, requests);
      expect(tokensOf(got)).toEqual(tokensOf(expected));
    } finally {
      await binding.close();
    }
  });
});

describe("ends", () => {
  const config = tinyConfig;
  const weights = seededWeights(config);

  it("stops at a stop token, which it keeps, also when it is the first", async () => {
    const free = seededRequest({ config, group: 2, length: 4, samples: 6, params: { maxNewTokens: 30 } });
    const unstopped = (await generate({ config, weights }, [free])).get(free.id)!;
    const stopTokens = [unstopped[0]!.tokens[5]!, unstopped[1]!.tokens[0]!];
    const stopped = (
      await generate({ config, weights }, [{ ...free, params: { ...free.params, stopTokens } }])
    ).get(free.id)!;
    stopped.forEach(({ tokens, finishReason }, i) => {
      const at = unstopped[i]!.tokens.findIndex((token) => stopTokens.includes(token));
      expect([...tokens]).toEqual([...unstopped[i]!.tokens.subarray(0, at < 0 ? 30 : at + 1)]);
      expect(finishReason).toBe(at < 0 ? "length" : "stop");
    });
    expect(stopped[1]!.tokens).toHaveLength(1);
  });

  it("says so when the weights are broken, and goes on with the next policy", async () => {
    const engine = new DecodeEngine({ ort, config, layout: "inputs", threads: 1, slots: 4, maxLength: 64 });
    const log: string[] = [];
    const batcher = new Batcher({
      engine,
      vocabulary: config.vocabSize,
      slots: 4,
      maxWaiting: 10,
      handlers: {
        completed: (id) => log.push(`completed ${id}`),
        failed: (id, reason) => log.push(`${id}: ${String(reason)}`),
      },
    });
    const load = (name: string, flat: Float32Array) =>
      batcher.barrier(name, async () => {
        await engine.load(flat);
        return { number: 0, digest: name };
      });
    load(
      "broken",
      weights.map(() => Number.NaN),
    );
    batcher.submit(seededRequest({ config, group: 0, length: 3, samples: 2 }));
    load("sound", weights);
    batcher.submit(seededRequest({ config, group: 1, length: 3, samples: 2 }));
    while (batcher.busy) await batcher.tick();
    await engine.close();
    expect(log).toEqual([
      expect.stringContaining("group 0: OarlockError: [GENERATION_NOT_FINITE]"),
      "completed group 1",
    ]);
  });

  it("takes sequences that are shorter than the padding of a prompt", async () => {
    const requests = [0, 1].map((group) =>
      seededRequest({ config, group, length: 4, samples: 2, params: { maxNewTokens: 3 } }),
    );
    const tokens = async (maxLength: number): Promise<number[][]> => {
      const results = await generate({ config, weights, maxLength }, requests);
      return [...results.values()].flat().map((completion) => [...completion.tokens]);
    };
    expect(await tokens(7)).toEqual(await tokens(config.maxPositions));
  });

  it("hands out what a cancelled request has, and empty completions for what never began", async () => {
    const engine = new DecodeEngine({ ort, config, layout: "inputs", threads: 1, slots: 2, maxLength: 64 });
    const results = new Map<string, readonly Completion[]>();
    const batcher = new Batcher({
      engine,
      vocabulary: config.vocabSize,
      slots: 2,
      maxWaiting: 10,
      handlers: { completed: (id, completions) => results.set(id, completions), failed: () => undefined },
    });
    await engine.load(weights);
    batcher.submit(seededRequest({ config, group: 0, length: 3, samples: 3, params: { maxNewTokens: 20 } }));
    batcher.submit(seededRequest({ config, group: 1, length: 3, samples: 1 }));
    for (let i = 0; i < 5; i++) await batcher.tick();
    batcher.cancel("group 0");
    batcher.cancel("unknown");
    while (batcher.busy) await batcher.tick();
    await engine.close();
    expect(results.get("group 0")!.map((c) => [c.sample, c.finishReason, c.tokens.length])).toEqual([
      [0, "abort", 6],
      [1, "abort", 6],
      [2, "abort", 0],
    ]);
    expect(results.get("group 1")!.map((c) => c.finishReason)).toEqual(["length"]);
  });
});
