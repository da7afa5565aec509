import { openOrt, type OrtRuntime } from "@oarlock/ort";
import { testedEngine } from "@oarlock/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runToEnd, seededRequest, seededWeights, tinyConfig, tokensOf } from "./testing.ts";

let ort: OrtRuntime;
beforeAll(async () => {
  ort = await openOrt({ ...testedEngine(), threads: 1 });
});
afterAll(() => ort.close());

describe("without GroupQueryAttention", () => {
  it.each([
    ["grouped heads", {}],
    ["a head for each query", { kvHeads: tinyConfig.heads }],
    ["normalised heads", { qkNorm: true }],
    ["half-split pairs", { ropeConvention: "half-split" as const }],
  ])("plain operators draw the same tokens with the same log-probs: %s", async (_, changed) => {
    const config = { ...tinyConfig, ...changed };
    const weights = seededWeights(config);
    const requests = [3, 12, 1, 7, 20].map((length, group) =>
      seededRequest({ config, group, length, samples: 3, params: { maxNewTokens: 6 + 5 * group } }),
    );
    const setup = { engine: ort, config, weights, slots: 6 };
    const fused = await runToEnd(setup, requests);
    const plain = await runToEnd({ ...setup, without: ["GroupQueryAttention"] }, requests);
    expect(tokensOf(plain)).toEqual(tokensOf(fused));
    for (const { id } of requests) {
      fused.get(id)!.forEach(({ logprobs }, i) => {
        const found = plain.get(id)![i]!.logprobs;
        expect(Math.max(...logprobs.map((logprob, t) => Math.abs(logprob - found[t]!)))).toBeLessThan(1e-4);
      });
    }
  });
});
