/** What the learner hands on of reward models: each version once, also where it cannot be had any more. */
import { createMemoryBus } from "@oarlock/bus";
import { parameterLayout, withScoreHead } from "@oarlock/nn";
import type { ResolvedRun } from "@oarlock/runfile";
import { bytesOf, sha256Hex } from "@oarlock/runtime";
import { openRewardModelStore } from "@oarlock/scoring";
import { expect, onTestFinished, test } from "vitest";
import { createModelPorts } from "./model-ports.ts";
import type { AnnouncedModel } from "./ports.ts";

const shape = {
  vocabSize: 4,
  hiddenSize: 4,
  intermediateSize: 4,
  layers: 1,
  heads: 1,
  kvHeads: 1,
  headSize: 4,
  ropeTheta: 10_000,
  ropeConvention: "half-split",
  rmsNormEps: 1e-5,
  maxPositions: 8,
  tiedEmbeddings: false,
  qkvBias: false,
  qkNorm: false,
} as const;
const FROM = "./scorer";
const rewards = [{ name: "liked", type: "model", model: { from: FROM } }];
// As much of a run as names a reward model.
const run = {
  spec: { stages: [{ name: "learn", type: "grpo", grpo: { rewards } }] },
  inputs: { model: { shape }, scorers: [{ from: FROM, shape, digest: "" }] },
} as unknown as ResolvedRun;

test("a version that was handed on is not read again: its file may hold its successor by now", async () => {
  const bus = createMemoryBus();
  onTestFinished(() => bus.close());
  const signal = AbortSignal.timeout(10_000);
  const ports = createModelPorts({ run, uid: "run", bus, incarnation: 1, outDir: "" } as never);
  const reads: number[] = [];
  const version = (number: number): AnnouncedModel => {
    const length = parameterLayout(withScoreHead(shape)).length;
    const weights = new Float32Array(length).fill(number);
    const read = async (): Promise<Float32Array> => {
      reads.push(number);
      return weights;
    };
    return { number, digest: sha256Hex(bytesOf(weights)), weights: read };
  };
  const [first, second] = [version(1), version(2)];
  const held = async (): Promise<readonly number[] | undefined> => {
    const store = await openRewardModelStore({ bus, uid: "run", number: 1, config: shape, incarnation: 0 });
    return (await store.current())?.held.map(({ number }) => number);
  };
  await ports.announce(FROM, [first], signal);
  await ports.announce(FROM, [first, second], signal);
  expect(reads).toEqual([1, 2]);
  expect(await held()).toEqual([1, 2]);
  await ports.announce(FROM, [second], signal);
  expect(reads).toEqual([1, 2]);
  expect(await held()).toEqual([2]);
});
