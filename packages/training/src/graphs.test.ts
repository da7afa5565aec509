/** Every graph of the trainer loads on the tested provider; on a card, with no node left to the processor. */
import { type LlamaConfig, type LlamaHead, parameterLayout } from "@oarlock/nn";
import { lackingOperators, openOrt, type OrtRuntime } from "@oarlock/ort";
import { testedEngine } from "@oarlock/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { forwardModel, type ForwardSpec, gradientModel, gradientName } from "./graphs.ts";
import { trainsHeadOnly } from "./objective.ts";
import { SMALL_LLAMA } from "./testing.ts";
import type { Objective } from "./types.ts";

const config: LlamaConfig = { ...SMALL_LLAMA, qkvBias: true, qkNorm: true };

const clip = { low: 0.2, high: 0.2, dual: 3 };
const grpo = {
  type: "grpo",
  clip,
  klCoefficient: 1,
  klEstimator: "k3",
  entropyCoefficient: 0.01,
  importance: true,
} as const;

const objectives: Readonly<Record<string, readonly [LlamaHead, Objective]>> = {
  "supervised rows": ["logits", { type: "sft" }],
  "a policy": ["logits", grpo],
  "a policy with a value head": ["both", { ...grpo, value: { clip: 0.2, coefficient: 0.5 } }],
  "a value head alone": ["both", { type: "value", clip: 0.2, headOnly: true }],
  "a critic": ["score", { type: "value", clip: 0.2 }],
  pairs: ["score", { type: "pairs", centering: 0.01 }],
  "rankings, Plackett-Luce": ["score", { type: "ranking", loss: "plackett-luce", answers: 4 }],
  "rankings, all pairs": ["score", { type: "ranking", loss: "all-pairs", answers: 4 }],
  steps: ["score", { type: "steps" }],
};

let ort: OrtRuntime;
beforeAll(async () => {
  ort = await openOrt({ driver: "native", ...testedEngine() });
});
afterAll(() => ort.close());

/** WebGPU is right before it is fast. */
const ALONE =
  testedEngine().provider === "cuda" ? { entries: { "session.disable_cpu_ep_fallback": "1" } } : {};

describe.each(Object.entries(objectives))("%s", (_, [head, objective]) => {
  test.each([
    ["rows alone", { prefixed: false }],
    ["rows of one prompt", { prefixed: true }],
  ])("loads: %s", async (__, shape) => {
    const without = lackingOperators(ort.provider);
    const headOnly = trainsHeadOnly(objective);
    const spec: ForwardSpec = {
      config: { ...config, head },
      temperature: 0.7,
      chosen: true,
      ...shape,
      ...(headOnly ? { output: "scores" } : {}),
    };
    const gradient = gradientModel({ ...spec, objective, old: "fed" }, without);
    const [forward, backward] = await Promise.all(
      [forwardModel(spec, without), gradient].map(({ bytes }) => ort.createSession(bytes, ALONE)),
    );
    expect(forward?.outputs).toHaveLength(1);
    const views = parameterLayout(spec.config).views.filter(({ name }) => !headOnly || name === "score");
    expect(backward?.outputs.map(({ name }) => name)).toEqual(
      expect.arrayContaining(views.map(({ name }) => gradientName(name))),
    );
    await Promise.all([forward, backward].map((session) => session?.close()));
  });
});
