/** Q1: what a run may have on the bus follows from its plan alone: how much is in flight, how large, and for how long it is kept. */
import { readRunFile, resolvePlan } from "@oarlock/runfile";
import { describe, expect, test } from "vitest";
import { groupsInFlightBound, topologyOf } from "./topology.ts";
import type { RunTopology } from "./topology.ts";

const NAMES = {
  workRollout: "work",
  trajectoryGenerated: "generated",
  trajectoryScored: "scored",
  workStream: "WORK",
  trajectoryStream: "TRAJECTORY",
};

const FILE = `
apiVersion: oarlock.dev/v1alpha1
kind: TrainingRun
metadata: { name: addition }
spec:
  seed: 7
  model:
    init: { hiddenSize: 32, intermediateSize: 64, layers: 2, heads: 2, maxPositions: 4096,
            tokenizer: { type: characters, characters: { alphabet: "0123456789+=" } } }
  pipeline: { mode: lockstep, lag: 1 }
  compute: { actors: 2, slots: 16 }
  stages:
    - name: learn
      type: grpo
      grpo:
        data: { type: task, task: { name: addition } }
        steps: 20
        promptsPerStep: 32
        groupSize: 4
        maxPromptLength: 16
        sampling: { maxNewTokens: 16 }
        rewards: [{ name: answer, type: exact }]
`;
const GRPO = "stages.learn.grpo";
const EVALUATION = "evaluation={data: {type: task, task: {name: addition, split: test}}, samples: 2}";
const STREAMING = "pipeline={mode: streaming, maxStaleness: 3}";
const SFT =
  "stages=[{name: warm, type: sft, sft: {data: {type: task, task: {name: addition}}, steps: 20, maxLength: 16}}]";

function planned(...set: string[]) {
  const read = readRunFile(FILE, { file: "run.yaml", set });
  if (!read.ok) throw new Error(read.problems.map(({ message }) => message).join("\n"));
  const rows = { digest: "", rows: 5_000, longestPrompt: 6, parts: ["prompt", "completion", "answer"] };
  const { run, problems } = resolvePlan(read.file, {
    model: { vocabSize: 15, digest: "", tokenizerDigest: "", chatTemplateDigest: "" },
    data: new Map(["stages.0.sft.data", "stages.0.grpo.data", "evaluation.data"].map((at) => [at, rows])),
    functions: new Map(),
    engine: { oarlock: "0.1.0", onnxruntime: "", instructionSet: "" },
    machine: { memoryBytes: 8e9 },
  });
  expect(problems).toEqual([]);
  return run;
}

const topology = (...set: string[]): RunTopology => topologyOf(planned(...set), NAMES);

/** Of the stream of trajectories, against those of the file as it is: messages, bytes, and what one reader may hold. */
function growth(...set: string[]): readonly number[] {
  const [of, base] = [topology(...set), topology()];
  const [stream, before] = [of.streams.trajectories, base.streams.trajectories];
  return [
    stream.maxMessages / before.maxMessages,
    stream.maxBytes / before.maxBytes,
    of.consumers.learner.maxAckPending / base.consumers.learner.maxAckPending,
  ];
}

describe("streams of a run", () => {
  test.each([
    ["twice the prompts", [`${GRPO}.promptsPerStep=64`], [2, 2, 2]],
    ["no lag", ["pipeline.lag=0"], [1 / 2, 1 / 2, 1 / 2]],
    ["more staleness", [STREAMING], [2, 2, 2]],
    ["twice the samples, which travel together", [`${GRPO}.groupSize=8`], [1, 2, 1]],
    ["an evaluation, by what keeps the actors busy", [EVALUATION], [2, 2, 2]],
    ["the same by twice the actors", [EVALUATION, "compute.actors=4"], [3, 3, 3]],
    ["actors otherwise change nothing", ["compute.actors=4"], [1, 1, 1]],
    ["nor does what the model could hold", ["model.init.maxPositions=64"], [1, 1, 1]],
  ])("%s", (_, set, expected) => expect(growth(...set)).toEqual(expected));

  test("have room for longer sequences where the plan makes them, in its evaluation too", () => {
    const bytes = (...set: string[]): number => topology(...set).streams.trajectories.maxBytes;
    const groups = topology().streams.trajectories.maxMessages;
    // 1,000 tokens more in each of 4 samples, of 16 bytes.
    expect(bytes(`${GRPO}.sampling.maxNewTokens=1016`) - bytes()).toBe(groups * 4 * 1_000 * 16);
    // And for what actors compute: half as much again.
    const reference = `${GRPO}.reference.computedBy=actors`;
    expect(bytes(reference) - bytes()).toBe(groups * 4 * 32 * 8);
    const long = `${EVALUATION.slice(0, -1)}, maxNewTokens: 1016}`;
    expect(bytes(long)).toBeGreaterThan(bytes(EVALUATION) + groups * 4 * 900 * 16);
  });

  test("hold all that is in flight, generated and scored, of two learners", () => {
    for (const set of [[], [STREAMING], [EVALUATION]]) {
      const inFlight = groupsInFlightBound(planned(...set));
      const { streams, consumers } = topology(...set);
      for (const { maxMessages } of Object.values(streams))
        expect(maxMessages).toBeGreaterThanOrEqual(4 * inFlight);
      for (const { maxAckPending } of Object.values(consumers))
        expect(maxAckPending).toBeGreaterThan(inFlight);
    }
  });

  test("are work queues: a message is kept until its one reader is done, and each subject has one", () => {
    for (const set of [[], [STREAMING], [SFT]]) {
      const { streams, consumers } = topology(...set);
      const kept = Object.values(streams).map(({ retention, oversize }) => [retention, oversize]);
      expect(kept).toEqual(kept.map(() => ["work-queue", "store"]));
      const subjects = Object.values(streams).flatMap(({ subjects: of }) => of);
      expect(Object.values(consumers).map(({ filterSubject }) => filterSubject)).toEqual(subjects);
    }
  });

  test("exist, with limits, where a plan samples nothing", () => {
    const { maxMessages, maxBytes } = topology(SFT).streams.work;
    expect(maxMessages).toBeGreaterThan(0);
    expect([maxBytes > 0, Number.isSafeInteger(maxBytes)]).toEqual([true, true]);
  });
});
