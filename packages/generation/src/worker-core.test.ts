import { describe, expect, it } from "vitest";
import { seededRequest, seededWeights, tinyConfig } from "./testing.ts";
import { WorkerCore } from "./worker-core.ts";

const settings = {
  config: tinyConfig,
  layout: "inputs",
  threads: 1,
  slots: 4,
  maxLength: 64,
  maxWaiting: 100,
  ort: {},
} as const;
const version = { number: 1, digest: "d" };
const request = (group: number) => seededRequest({ config: tinyConfig, group, length: 4, samples: 2 });

describe("a worker's core", () => {
  it("loads, generates, counts, and closes", async () => {
    const core = new WorkerCore();
    expect(() => core.stats()).toThrow(/GENERATION_CLOSED/);
    await core.open(settings);
    await core.load({ weights: seededWeights(tinyConfig), version, inFlight: false });
    const completions = await core.submit({ request: request(0) });
    expect(completions.map(({ tokens, version: by }) => [tokens.length, by])).toEqual([
      [8, version],
      [8, version],
    ]);
    expect(core.stats()).toMatchObject({
      prefills: 1,
      promptTokens: 4,
      tokens: 16,
      completions: 2,
      decodeSteps: 7,
      occupiedSlotSteps: 14,
    });
    await core.close();
    await expect(core.submit({ request: request(1) })).rejects.toThrow(/GENERATION_CLOSED/);
  });

  it("L1: leaves nobody waiting when the engine fails", async () => {
    const core = new WorkerCore();
    await core.open(settings);
    await core.load({ weights: seededWeights(tinyConfig), version, inFlight: false });
    const before = core.submit({ request: request(0) });
    // No array at all: the engine fails when it takes it, which is when everything before has ended.
    const broken = core.load({ weights: undefined as unknown as Float32Array, version, inFlight: false });
    const after = core.submit({ request: request(1) });
    const next = core.load({ weights: seededWeights(tinyConfig), version, inFlight: false });
    const results = await Promise.allSettled([before, broken, after, next]);
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "rejected", "rejected"]);
    await expect(core.submit({ request: request(2) })).rejects.toThrow(/GENERATION_FAILED.*engine failed/);
    await core.close();
  });
});
