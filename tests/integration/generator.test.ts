import {
  createGenerator,
  type Completion,
  type GenerationRequest,
  type GeneratorOptions,
  type SamplingParams,
} from "@oarlock/generation";
import { initialWeights, type LlamaConfig } from "@oarlock/nn";
import { initialNormals, type SampleKey } from "@oarlock/rl";
import { watchIdleLoop } from "@oarlock/testkit";
import { describe, expect, it } from "vitest";
import { goldenFile, readGolden, readStories260k, storiesFile } from "./stories260k.ts";

const config: LlamaConfig = {
  vocabSize: 64,
  hiddenSize: 32,
  intermediateSize: 64,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headSize: 8,
  ropeTheta: 10_000,
  ropeConvention: "half-split",
  rmsNormEps: 1e-5,
  maxPositions: 512,
  tiedEmbeddings: true,
  qkvBias: false,
  qkNorm: false,
};
const weightsOf = (seed: number) =>
  initialWeights(config, (count, index) => initialNormals(seed, index, count));
const v1 = { number: 1, digest: "one" };
const v2 = { number: 2, digest: "two" };
const plain: SamplingParams = { temperature: 1, topK: 0, topP: 1, maxNewTokens: 16, stopTokens: [] };
const key = (group: number, sample: number): SampleKey => ({
  seed: 3,
  purpose: "rollout",
  stage: 0,
  step: 5,
  group,
  draw: 0,
  sample,
});

function request(
  group: number,
  options: { length?: number; samples?: number; params?: Partial<SamplingParams> } = {},
): GenerationRequest {
  const { length = 5 + (group % 7), samples = 4, params } = options;
  return {
    id: `group ${group}`,
    prompt: Int32Array.from({ length }, (_, t) => (group * 13 + t * 5) % 64),
    samples: Array.from({ length: samples }, (_, sample) => key(group, sample)),
    params: { ...plain, ...params },
  };
}
const show = (completions: readonly Completion[]) =>
  completions.map(({ sample, tokens, logprobs, finishReason, version }) => ({
    sample,
    tokens: tokens.join(" "),
    logprobs: new Uint32Array(logprobs.buffer, logprobs.byteOffset, logprobs.length).join(" "),
    finishReason,
    version,
  }));

async function withGenerator<T>(
  options: Partial<GeneratorOptions>,
  use: (g: Awaited<ReturnType<typeof createGenerator>>) => Promise<T>,
) {
  const generator = await createGenerator({ config, ...options });
  try {
    return await use(generator);
  } finally {
    await generator.close();
  }
}

describe("D2, D3: completions are a function of weights, prompt, parameters and keys", () => {
  const requests = Array.from({ length: 20 }, (_, group) =>
    request(group, {
      samples: 1 + (group % 5),
      params: {
        maxNewTokens: 4 + ((group * 11) % 30),
        temperature: group % 3 === 0 ? 0.8 : 1,
        topK: group % 4 === 1 ? 5 : 0,
        topP: group % 4 === 2 ? 0.9 : 1,
      },
    }),
  );
  const run = (options: Partial<GeneratorOptions>, order: readonly GenerationRequest[]) =>
    withGenerator(options, async (generator) => {
      await generator.load(weightsOf(1), v1);
      const results = new Map(
        await Promise.all(order.map(async (r) => [r.id, show(await generator.submit(r))] as const)),
      );
      return requests.map(({ id }) => results.get(id));
    });

  it.each([
    { workers: 1, slots: 3 },
    { workers: 2, slots: 64 },
    { workers: 3, slots: 7 },
    { workers: 2, slots: 2 },
  ])("$workers workers, $slots slots, another order", async (options) => {
    const expected = await run({}, requests);
    expect(await run(options, requests.toReversed())).toEqual(expected);
  });

  it("the layouts agree in every token of short greedy sequences", async () => {
    const greedy = [request(0, { samples: 1, params: { temperature: 0 } })];
    const tokens = (layout: "inputs" | "initializers") =>
      withGenerator({ layout }, async (generator) => {
        await generator.load(weightsOf(1), v1);
        return [...(await generator.submit(greedy[0]!))[0]!.tokens];
      });
    expect(await tokens("initializers")).toEqual(await tokens("inputs"));
  });
});

describe("the generator", () => {
  it("makes everything before a load with the old weights and everything after with the new", async () => {
    await withGenerator({ workers: 2, slots: 4 }, async (generator) => {
      await generator.load(weightsOf(1), v1);
      const before = Array.from({ length: 6 }, (_, group) => generator.submit(request(group)));
      const loading = generator.load(weightsOf(2), v2);
      const after = Array.from({ length: 6 }, (_, group) => generator.submit(request(group)));
      const versions = (all: readonly (readonly Completion[])[]) =>
        new Set(all.flat().map(({ version }) => version.digest));
      expect(versions(await Promise.all(before))).toEqual(new Set(["one"]));
      await loading;
      expect(versions(await Promise.all(after))).toEqual(new Set(["two"]));
    });
  });

  it("splits a request that is larger than a worker, and keeps the order of its samples", async () => {
    await withGenerator({ workers: 2, slots: 8 }, async (generator) => {
      await generator.load(weightsOf(1), v1);
      const large = await generator.submit(request(1, { samples: 21 }));
      expect(large.map(({ sample }) => sample)).toEqual(Array.from({ length: 21 }, (_, i) => i));
      const small = await generator.submit({ ...request(1), samples: [key(1, 20)] });
      expect(show(small)).toEqual(show(large).slice(20));
    });
  });

  it("tells of tokens while they are drawn, and of all of them before it ends", async () => {
    await withGenerator({ workers: 2, slots: 4 }, async (generator) => {
      await generator.load(weightsOf(1), v1);
      const heard = new Map<number, { tokens: number[]; logprobs: number[]; reports: number }>();
      let early = 0;
      let done = false;
      const submitted = generator.submit(
        request(3, { samples: 5, params: { maxNewTokens: 100 } }),
        undefined,
        (progress) => {
          expect(progress.version).toEqual(v1);
          const { tokens, logprobs, reports } = heard.get(progress.sample) ?? {
            tokens: [],
            logprobs: [],
            reports: 0,
          };
          const next = {
            tokens: [...tokens, ...progress.tokens],
            logprobs: [...logprobs, ...progress.logprobs],
            reports: reports + 1,
          };
          heard.set(progress.sample, next);
          if (!done) early++;
        },
      );
      const completions = await submitted.finally(() => (done = true));
      for (const { sample, tokens, logprobs } of completions) {
        expect(heard.get(sample)).toEqual({ tokens: [...tokens], logprobs: [...logprobs], reports: 13 });
      }
      expect(early).toBe(5 * 13);
    });
  });

  it("returns what it has when aborted", async () => {
    await withGenerator({ slots: 2 }, async (generator) => {
      await generator.load(weightsOf(1), v1);
      const stop = new AbortController();
      const long = generator.submit(request(0, { samples: 3, params: { maxNewTokens: 500 } }), stop.signal);
      await new Promise((resolve) => setTimeout(resolve, 30));
      stop.abort();
      const completions = await long;
      expect(completions.map(({ finishReason }) => finishReason)).toEqual(["abort", "abort", "abort"]);
      expect(
        completions.every(({ tokens, logprobs }) => tokens.length < 500 && tokens.length === logprobs.length),
      ).toBe(true);
      await expect(generator.submit(request(1), stop.signal)).rejects.toThrow(/abort/i);
    });
  });

  it.each([
    ["GENERATION_REQUEST.*no tokens", { ...request(0), prompt: new Int32Array() }],
    ["GENERATION_REQUEST.*token 64", { ...request(0), prompt: Int32Array.of(64) }],
    ["GENERATION_REQUEST.*no samples", { ...request(0), samples: [] }],
    ["GENERATION_REQUEST.*limit of 512", request(0, { params: { maxNewTokens: 512 } })],
    ["GENERATION_PARAMS.*temperature", request(0, { params: { temperature: -1 } })],
    ["RANDOM_KEY.*step", { ...request(0), samples: [{ ...key(0, 0), step: -1 }] }],
  ])("X1: refuses with %s", async (message, wrong) => {
    await withGenerator({}, async (generator) => {
      await generator.load(weightsOf(1), v1);
      await expect(generator.submit(wrong)).rejects.toThrow(new RegExp(message));
      expect(await generator.submit(request(1))).toHaveLength(4);
    });
  });

  it("refuses work before weights, beyond its bound, and after its end", async () => {
    const generator = await createGenerator({ config, slots: 1, maxWaiting: 3 });
    await expect(generator.submit(request(0))).rejects.toThrow(/GENERATION_NO_WEIGHTS/);
    await generator.load(weightsOf(1), v1);
    await expect(generator.submit(request(0, { samples: 1 }))).resolves.toHaveLength(1);
    await expect(generator.submit(request(1, { samples: 4 }))).rejects.toThrow(/GENERATION_FULL/);
    await expect(generator.submit(request(1, { samples: 3 }))).resolves.toHaveLength(3);
    const cut = generator.submit(request(9, { samples: 1, params: { maxNewTokens: 500 } }));
    const closed = generator.close();
    await expect(cut).rejects.toThrow(/WORKER_DIED.*closed/);
    await closed;
    await expect(generator.submit(request(1))).rejects.toThrow(/WORKER_CLOSED/);
  });

  it("refuses weights of another model", async () => {
    await withGenerator({}, async (generator) => {
      await expect(generator.load(new Float32Array(100), v1)).rejects.toThrow(
        /GENERATION_WEIGHTS.*100 numbers/,
      );
    });
  });

  it("D3: refuses several threads over weights that are inputs", async () => {
    await expect(createGenerator({ config, threads: 2 })).rejects.toThrow(/GENERATION_PLAN.*threads is 2/);
  });

  it("keeps occupancy at .9 or more when lengths spread 10 : 1, with one prefill a prompt", async () => {
    await withGenerator({ slots: 16 }, async (generator) => {
      await generator.load(weightsOf(1), v1);
      const requests = Array.from({ length: 60 }, (_, group) =>
        request(group, { samples: 8, params: { maxNewTokens: 10 * (1 + ((group * 7) % 10)) } }),
      );
      await Promise.all(requests.map((r) => generator.submit(r)));
      const stats = await generator.stats();
      expect(stats.occupancy).toBeGreaterThanOrEqual(0.9);
      expect(stats).toMatchObject({
        prefills: 60,
        completions: 480,
        tokens: 8 * 6 * 550,
        waitingSamples: 0,
        activeSamples: 0,
      });
    });
  });

  it("P1: the caller's event loop stays free while the engine is busy and weights are loaded", async () => {
    await withGenerator({ workers: 2 }, async (generator) => {
      await generator.load(weightsOf(1), v1);
      const idle = await watchIdleLoop();
      let worst = 0;
      let last = performance.now();
      const watch = setInterval(() => {
        worst = Math.max(worst, performance.now() - last - 5);
        last = performance.now();
      }, 5);
      const work = Array.from({ length: 40 }, (_, group) =>
        generator.submit(request(group, { samples: 8, params: { maxNewTokens: 100 } })),
      );
      await Promise.all([...work, generator.load(weightsOf(2), v2)]);
      clearInterval(watch);
      expect(worst).toBeLessThan(100 + 3 * (await idle.maxMs()));
    });
  });
});

describe.skipIf(storiesFile.absent || goldenFile.absent)(`stories260K${storiesFile.note}`, () => {
  const { config: stories, weights } = storiesFile.absent
    ? { config, weights: weightsOf(1) }
    : readStories260k();

  it.each(["inputs", "initializers"] as const)("gives its published text, weights as %s", async (layout) => {
    const golden = readGolden();
    await withGenerator({ config: stories, layout, maxLength: 128 }, async (generator) => {
      await generator.load(weights, v1);
      const fromStart = {
        ...request(0, { samples: 3, params: { temperature: 0, maxNewTokens: 64 } }),
        prompt: Int32Array.of(1),
      };
      for (const { tokens } of await generator.submit(fromStart))
        expect([1, ...tokens]).toEqual(golden.greedy_from_bos_64);
      // The same text from any of its prefixes: prefill and decode are one function.
      for (const length of [2, 7, 8, 9, 33, 63]) {
        const prompt = Int32Array.from(golden.greedy_from_bos_64.slice(0, length));
        const rest = await generator.submit({
          ...fromStart,
          prompt,
          params: { ...fromStart.params, maxNewTokens: 65 - length },
        });
        expect([...rest[0]!.tokens]).toEqual(golden.greedy_from_bos_64.slice(length));
      }
    });
  });

  it("gives the golden log-probs to 1e-4", async () => {
    const { prompt_ids: ids, prompt_token_logprobs: logprobs } = readGolden();
    await withGenerator({ config: stories, maxLength: 64 }, async (generator) => {
      await generator.load(weights, v1);
      // Greedy decoding reports the model's own log-probs; the golden prompt is its greedy text almost everywhere.
      const errors: number[] = [];
      for (let t = 1; t < ids.length; t++) {
        const one = request(t, { samples: 1, params: { temperature: 0, maxNewTokens: 1 } });
        const [completion] = await generator.submit({ ...one, prompt: Int32Array.from(ids.slice(0, t)) });
        if (completion!.tokens[0] === ids[t])
          errors.push(Math.abs(completion!.logprobs[0]! - logprobs[t - 1]!));
      }
      expect(errors.length).toBeGreaterThanOrEqual(12);
      expect(Math.max(...errors)).toBeLessThan(1e-4);
    });
  });
});
