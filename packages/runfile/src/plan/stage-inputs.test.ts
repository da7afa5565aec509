/** Which stages run again: what they are made from decides, directly or through their parents. */
import { describe, expect, it } from "vitest";
import { readRunFile } from "../read-run-file.ts";
import type { ResolvedRun } from "../resolved.ts";
import { OTHER_SHAPE, threeStageRun } from "../specimens.ts";
import { resolvePlan } from "./plan.ts";
import { decideStages, stageInputs } from "./stage-inputs.ts";

function plan(
  set: readonly string[] = [],
  pairsDigest = "pairs",
  oarlock = "0.1.0",
  scorerDigest = "",
): ResolvedRun {
  const read = readRunFile(threeStageRun(), { file: "run.yaml", set });
  if (!read.ok) throw new Error(JSON.stringify(read.problems));
  const rows = { digest: "rows", rows: 5000, longestPrompt: 6, parts: ["prompt"] };
  return resolvePlan(read.file, {
    model: { vocabSize: 15, digest: "", tokenizerDigest: "t", chatTemplateDigest: "" },
    data: new Map([
      ["stages.0.sft.data", rows],
      ["stages.1.reward-model.data", { ...rows, digest: pairsDigest }],
      ["stages.2.ppo.data", rows],
    ]),
    functions: new Map(),
    scorers: new Map(scorerDigest === "" ? [] : [["./rm", { shape: OTHER_SHAPE, digest: scorerDigest }]]),
    engine: { oarlock, onnxruntime: "1.30.0", instructionSet: "x64-avx2" },
    machine: { memoryBytes: 8 * 1024 ** 3 },
  }).run;
}

const before = plan();
const finished = new Map(stageInputs(before).map(({ name, digest }) => [name, digest]));
const decisions = (run: ResolvedRun) => decideStages(run, { run: before, finished });
const running = (run: ResolvedRun) => decisions(run).flatMap(({ name, runs }) => (runs ? [name] : []));

describe("a stage runs again", () => {
  it.each([
    ["nothing changed", [], []],
    ["its own option did", ["stages.learn.ppo.gamma=0.9"], ["learn"]],
    ["a parent runs again", ["stages.judge.reward-model.margin=1"], ["judge", "learn"]],
    ["a parent's parent runs again", ["stages.warm.sft.steps=21"], ["warm", "judge", "learn"]],
    ["the seed did", ["seed=8"], ["warm", "judge", "learn"]],
    ["only stages that sample depend on the lag", ["pipeline.lag=0"], ["learn"]],
    ["no result depends on the gate", ["stages.judge.reward-model.minimumAccuracy=0.7"], []],
    ["nor on who computes the reference's log-probs", ["stages.learn.ppo.reference.computedBy=actors"], []],
    ["nor on how often is saved, nor on how many work", ["checkpoints.every=3", "compute.actors=4"], []],
    ["a critic of actors may be an older one", ["stages.learn.ppo.critic.computedBy=actors"], ["learn"]],
  ] as const)("%s", (_, set, expected) => {
    expect(running(plan(set))).toEqual(expected);
  });

  it("because an evaluation that may end it is another one", () => {
    const evaluated = (limit: number): string =>
      `evaluation={data: {type: task, task: {name: addition, split: test, limit: ${limit}}}, every: 5}`;
    const until = "stages.warm.sft.until={atLeast: 0.3}";
    const names = (limits: readonly [number, number], ...set: readonly string[]): string[] => {
      const [first, other] = limits.map((limit) => stageInputs(plan([...set, evaluated(limit)])));
      return other!.flatMap(({ name, digest }, i) => (digest === first![i]!.digest ? [] : [name]));
    };
    expect(names([100, 200])).toEqual([]);
    expect(names([100, 200], until)).toEqual(["warm", "judge", "learn"]);
    expect(names([100, 100], until)).toEqual([]);
  });

  it("because rows or the engine changed", () => {
    expect(running(plan([], "other pairs"))).toEqual(["judge", "learn"]);
    expect(running(plan([], "pairs", "0.2.0"))).toEqual(["warm", "judge", "learn"]);
  });

  it("because the reward model that it reads is another one, and no other stage for that", () => {
    const rewards = "stages.learn.ppo.rewards=[{name: preferred, type: model, model: {from: ./rm}}]";
    const [first, other] = ["one", "other"].map((digest) => plan([rewards], "pairs", "0.1.0", digest));
    const made = new Map(stageInputs(first!).map(({ name, digest }) => [name, digest]));
    const decided = (run: ResolvedRun) => decideStages(run, { run: first!, finished: made });
    expect(decided(first!).map(({ runs }) => runs)).toEqual([false, false, false]);
    expect(decided(other!)[2]).toMatchObject({
      runs: true,
      why: expect.stringMatching(/^scorers was .*one.*other/),
    });
    expect(decided(other!).map(({ runs }) => runs)).toEqual([false, false, true]);
    expect(other!.digest).not.toBe(first!.digest);
    // The same weights under another config.json give other scores.
    const [scorer] = first!.inputs.scorers!;
    const shape = { ...scorer!.shape, ropeTheta: 500_000 };
    const turned = { ...first!, inputs: { ...first!.inputs, scorers: [{ ...scorer!, shape }] } };
    expect(decided(turned).map(({ runs }) => runs)).toEqual([false, false, true]);
  });

  it("because it was not finished, or is new", () => {
    const partly = { run: before, finished: new Map([...finished].slice(0, 1)) };
    expect(decideStages(before, partly).map(({ runs, why }) => (runs ? why : ""))).toEqual([
      "",
      "it was not finished",
      "judge runs again",
    ]);
    const renamed = plan(["stages.learn.name=please"]);
    expect(decideStages(renamed, { run: before, finished })[2]).toMatchObject({
      runs: true,
      why: "it is new",
    });
  });

  it("not because of another one, where it builds on the model itself", () => {
    const apart = "stages.judge.reward-model.model={from: model}";
    const first = plan([apart]);
    const made = new Map(stageInputs(first).map(({ name, digest }) => [name, digest]));
    const changed = plan([apart, "stages.warm.sft.steps=21"]);
    const found = decideStages(changed, { run: first, finished: made });
    expect(found.map(({ runs }) => runs)).toEqual([true, false, true]);
  });

  it("and says why", () => {
    expect(
      decisions(plan(["stages.learn.ppo.kl={coefficient: 0.1}", "stages.judge.reward-model.steps=9"])),
    ).toEqual([
      { name: "warm", runs: false, why: "finished, and its inputs are the same" },
      {
        name: "judge",
        runs: true,
        why: "reward-model.steps was 20, is 9",
      },
      { name: "learn", runs: true, why: "ppo.kl.coefficient was 0.05, is 0.1; judge runs again" },
    ]);
  });
});
