/** Reward models and PPO in a plan: defaults that follow from one another, lineage, and the traps of both. */
import { describe, expect, it } from "vitest";
import { formatProblem } from "../problem.ts";
import { readRunFile } from "../read-run-file.ts";
import { OTHER_SHAPE as SCORER, threeStageRun } from "../specimens.ts";
import { policyBefore, restartsPolicy } from "../stage-parts.ts";
import type { DataFacts, PlanFacts } from "./facts.ts";
import { type Plan, resolvePlan } from "./plan.ts";
import { parameterCount } from "./shape.ts";

const GIB = 1024 ** 3;
const rows = { digest: "rows", rows: 5000, longestPrompt: 6, parts: ["prompt", "completion", "answer"] };
const pairs = { ...rows, longestPrompt: 20, parts: ["prompt", "chosen", "rejected"] };

function plan(set: readonly string[] = [], preferences: typeof pairs = pairs, held: DataFacts = rows): Plan {
  const facts: PlanFacts = {
    model: { vocabSize: 15, digest: "", tokenizerDigest: "t", chatTemplateDigest: "" },
    data: new Map([
      ["stages.0.sft.data", rows],
      ["stages.1.reward-model.data", preferences],
      ["stages.2.ppo.data", rows],
      ["evaluation.data", held],
    ]),
    functions: new Map(),
    scorers: new Map([["./rm", { shape: SCORER, digest: "d" }]]),
    engine: { oarlock: "0.1.0", onnxruntime: "1.30.0", instructionSet: "x64-avx2" },
    machine: { memoryBytes: 8 * GIB },
  };
  const read = readRunFile(threeStageRun(), { file: "run.yaml", set });
  if (!read.ok) throw new Error(read.problems.map(formatProblem).join("\n"));
  return resolvePlan(read.file, facts);
}

describe("a reward model that is read", () => {
  const PREFERRED = "stages.learn.ppo.rewards.preferred";
  const codes = (set: readonly string[]) => plan(set).problems.map(({ code }) => code);
  const evaluation = "evaluation={data: {type: task, task: {name: addition, split: test}}}";

  it("is an input of the run with its digest, may be of any shape, and judges evaluations too", () => {
    const { run, problems } = plan([`${PREFERRED}.model={from: ./rm}`, evaluation]);
    expect(problems).toEqual([]);
    expect(run.inputs.scorers).toEqual([{ from: "./rm", shape: SCORER, digest: "d" }]);
    expect(plan().run.inputs).not.toHaveProperty("scorers");
  });

  it("counts in the memory: where it scores, for every list of rewards that names it, and on the bus", () => {
    const scorers = (rewards: string, ...more: readonly string[]) =>
      plan([`stages.learn.ppo.rewards=[${rewards}]`, ...more]).memory.scorers;
    const none = scorers("{name: a, type: exact}");
    const weights = 4 * parameterCount(SCORER);
    const read = "{name: a, type: model, model: {from: ./rm}}";
    const one = scorers(read) - none;
    expect(one).toBe(2 * weights);
    const trained = scorers("{name: a, type: model, model: {from: stage/judge}}") - none;
    const ensemble = "{name: a, type: ensemble, ensemble: {from: [./rm, stage/judge]}}";
    expect(scorers(ensemble) - none).toBe(one + trained);
    // An evaluation by the stage's own rewards shares them; by others it has its own model, and the bus no other.
    const evaluated = (rewards: string): number =>
      scorers(
        read,
        `evaluation={data: {type: task, task: {name: addition, split: test}}, rewards: [${rewards}]}`,
      ) - none;
    expect(evaluated(read)).toBe(one);
    expect(evaluated(read.replace("name: a", "name: b"))).toBe(one + weights);
  });

  it("must hold what the policy may write", () => {
    const long = ["stages.learn.ppo.maxPromptLength=16", "stages.learn.ppo.sampling.maxNewTokens=16"];
    expect(codes([`${PREFERRED}.model={from: ./rm}`])).toEqual([]);
    const [problem, ...others] = plan([`${PREFERRED}.model={from: ./rm}`, ...long]).problems;
    expect(others).toEqual([]);
    expect(problem).toMatchObject({ code: "CONTEXT_TOO_SHORT", value: "./rm" });
    expect(problem?.message).toMatch(/holds 24 positions.*32 tokens/);
    expect(codes(long)).toEqual([]);
  });
});

describe("the tokens of a step of PPO", () => {
  it("are trained by policy and critic, and once where the critic is a head on the policy's trunk", () => {
    const trained = (set: readonly string[]) => plan(set).tokens[2]?.trainedTokens ?? Number.NaN;
    const trunk = trained(["stages.learn.ppo.critic={network: trunk}"]);
    expect(trunk).toBeGreaterThan(0);
    expect(trained([])).toBe(2 * trunk);
  });
});

it("an evaluation may share its prompts with a reward model, and not with what the policy is trained on", () => {
  const answer = "rewards: [{name: answer, type: exact}]";
  const set = [`evaluation={data: {type: task, task: {name: addition, split: test}}, ${answer}}`];
  const codes = (path: string) =>
    plan(set, pairs, { ...rows, shared: { [path]: 5000 } }).problems.map(({ code }) => code);
  expect(codes("stages.1.reward-model.data")).toEqual([]);
  expect(codes("stages.0.sft.data")).toEqual(["EVALUATION_ON_TRAINING_DATA"]);
});

describe("the three stages", () => {
  it("start from one another unless the file says otherwise, and say so", () => {
    const { run, origins, problems } = plan();
    expect(problems).toEqual([]);
    const [warm, judge, learn] = run.spec.stages;
    expect(warm).toMatchObject({ sft: { model: { from: "model" } } });
    expect(judge).toMatchObject({
      "reward-model": {
        model: { from: "stage/warm" },
        maxLength: 20,
        heldOut: 0.1,
        minimumAccuracy: 0.5,
        microBatchSize: 8,
      },
    });
    expect(learn).toMatchObject({
      ppo: {
        model: { from: "stage/warm" },
        critic: { from: "stage/judge", clip: 0.2, warmupSteps: 0 },
        groupSize: 1,
        epochs: 4,
        lambda: 0.95,
        kl: { placement: "reward", estimator: "k1", controller: "fixed" },
      },
    });
    expect(origins.get("spec.stages.2.ppo.critic.from")).toEqual({
      type: "derived",
      why: "the last reward model, else the policy",
    });
  });

  it("have the policy as it stood before them, which a reward model does not change", () => {
    const { stages } = plan().run.spec;
    expect([0, 1, 2].map((index) => policyBefore(stages, index))).toEqual([
      "model",
      "stage/warm",
      "stage/warm",
    ]);
    expect([0, 1, 2].map((index) => restartsPolicy(stages, index))).toEqual([false, false, false]);
    const again = plan(["stages.learn.ppo.model={from: model}"]).run.spec.stages;
    expect(restartsPolicy(again, 2)).toBe(true);
  });

  it("fit micro-batches into mini-batches by themselves", () => {
    const { run, problems } = plan(["stages.learn.ppo.miniBatches=4"]);
    expect(problems).toEqual([]);
    expect(run.spec.stages[2]).toMatchObject({ ppo: { miniBatches: 4, microBatchSize: 2 } });
  });

  it("need memory for the second model, and none for logits that a score head does not have", () => {
    // Weights, gradients and moments of one trainer; a reward model that scores, and the bus's copy of it.
    expect(plan().memory.scorers).toBe(6 * 4 * plan().run.inputs.model.parameters);
  });
});

describe("a process reward model", () => {
  const MODEL = "stages.learn.ppo.rewards.preferred.model";

  it("scores steps that end with a newline or a given text; without it, the plan is the plan that it was", () => {
    const model = (...set: string[]) => {
      const { run, problems } = plan(set);
      expect(problems).toEqual([]);
      const [, , learn] = run.spec.stages;
      const [reward] = learn?.type === "ppo" ? learn.ppo.rewards : [];
      return { digest: run.digest, model: reward?.type === "model" ? reward.model : undefined };
    };
    const outcome = model();
    expect(outcome.model).toEqual({ from: "stage/judge" });
    expect(model(`${MODEL}.scope=trajectory`)).toEqual(outcome);
    const lines = model(`${MODEL}.scope=step`);
    expect(lines.model).toEqual({ from: "stage/judge", scope: "step", stepEnd: "\n" });
    const blocks = model(`${MODEL}={from: stage/judge, scope: step, stepEnd: "\\n\\n"}`);
    expect(blocks.model).toEqual({ from: "stage/judge", scope: "step", stepEnd: "\n\n" });
    expect(new Set([outcome, lines, blocks].map(({ digest }) => digest)).size).toBe(3);
  });

  it.each(["clip: {min: 0, max: 1}", "normalize: running"])("has no one score for %s", (shaping) => {
    const model = "type: model, model: {from: stage/judge, scope: step}";
    const { problems } = plan([`stages.learn.ppo.rewards=[{name: preferred, ${model}, ${shaping}}]`]);
    expect(problems.map(({ code }) => code)).toEqual(["SCORE_SCOPE_SHAPED"]);
  });
});

describe("traps", () => {
  const PPO = "stages.learn.ppo";
  const JUDGE = "stages.judge.reward-model";

  it.each([
    ["STAGE_RESULT_UNKNOWN", `${PPO}.rewards.preferred.model={from: stage/other}`],
    ["STAGE_RESULT_UNKNOWN", `${PPO}.rewards.preferred.model={from: stage/warm}`],
    ["STAGE_RESULT_UNKNOWN", `${PPO}.model={from: stage/judge}`],
    ["STAGE_RESULT_UNKNOWN", `${PPO}.critic={from: stage/learn}`],
    ["STAGE_RESULT_UNKNOWN", `${JUDGE}.model={from: stage/learn}`],
    ["EVALUATION_BEFORE_MODEL", "evaluation={data: {type: task, task: {name: addition, split: test}}}"],
    ["BATCH_NOT_DIVISIBLE", `${PPO}.miniBatches=3`],
    ["VALUES_BY_ACTORS", `${PPO}.critic={network: trunk, computedBy: actors}`],
    ["CRITIC_WARMUP_TOO_LONG", `${PPO}.critic={warmupSteps: 20}`],
    ["KL_CONTROLLER_WITHOUT_AIM", `${PPO}.kl={controller: adaptive, target: 0}`],
    ["KL_GRADIENT_ZERO", `${PPO}.kl={placement: loss, estimator: k1}`],
    ["LEARNING_RATE_RANGE", `${PPO}.critic={optimizer: {learningRate: 1}}`],
    ["LEARNING_RATE_RANGE", `${JUDGE}.optimizer={learningRate: 1}`],
    ["CONTEXT_TOO_SHORT", `${JUDGE}.maxLength=33`],
    ["BATCH_NOT_DIVISIBLE", `${JUDGE}.microBatchSize=5`],
    ["GATE_WITHOUT_DATA", `${JUDGE}.heldOut=0`],
    ["ANSWERS_NOT_A_PAIR", `${JUDGE}.answers=3`],
    ["RANKING_WITHOUT_EFFECT", [`${JUDGE}.loss=all-pairs`, `${JUDGE}.margin=1`]],
    ["PREFERENCES_MISSING", `${JUDGE}.loss=plackett-luce`],
    ["PREFERENCES_MISSING", `${JUDGE}.loss=binary-cross-entropy`],
    ["STEP_LABELS_WITHOUT_EFFECT", [`${JUDGE}.loss=binary-cross-entropy`, `${JUDGE}.centering=1`]],
    ["STEP_LABELS_WITHOUT_EFFECT", [`${JUDGE}.loss=binary-cross-entropy`, `${JUDGE}.answers=2`]],
    ["FOLD_UNKNOWN", `${JUDGE}.fold=10`],
    ["LAG_TOO_LONG", `${PPO}.steps=1`],
    ["GUARD_GOLD_UNKNOWN", `${PPO}.guards=[{name: g, watch: reward-hacking, reaction: stop}]`],
    ["GUARD_GOLD_UNUSED", `${PPO}.guards=[{name: g, watch: kl, reaction: stop, gold: preferred}]`],
    ["GUARD_LIMIT", `${PPO}.guards=[{name: g, watch: entropy, reaction: stop, limit: 1}]`],
    ["HELD_OUT_TRAINED_ON", `${PPO}.rewards=[{name: a, type: exact, heldOut: true, weight: 1}]`],
    ["REWARDS_WITHOUT_WEIGHT", `${PPO}.rewards=[{name: a, type: exact, heldOut: true}]`],
  ])("%s: %s", (code, set) => {
    const { problems } = plan([set].flat());
    expect(problems.map((problem) => problem.code)).toContain(code);
    expect(
      problems.filter((problem) => problem.file === undefined || (problem.accepted ?? "") === ""),
    ).toEqual([]);
  });

  it("PREFERENCES_MISSING: rows without a preferred and a rejected answer", () => {
    const { problems } = plan([], { ...pairs, parts: ["prompt", "completion"] });
    expect(problems.map(({ code }) => code)).toEqual(["PREFERENCES_MISSING"]);
  });

  it("labelled steps have an end of their own, and a scorer looks for the same", () => {
    const steps = { ...pairs, parts: ["prompt", "steps"] };
    const loss = `${JUDGE}.loss=binary-cross-entropy`;
    const scorer = (options: string) => [
      loss,
      `${JUDGE}.stepEnd=;`,
      `${PPO}.rewards.preferred.model={from: stage/judge${options}}`,
    ];
    const judge = plan([loss], steps).run.spec.stages[1];
    expect(judge).toMatchObject({ "reward-model": { answers: 1, centering: 0, stepEnd: "\n" } });
    expect(plan(scorer(', scope: step, stepEnd: ";"'), steps).problems).toEqual([]);
    expect(plan(scorer(""), steps).problems).toEqual([]); // its score of the whole
    const [differs] = plan(scorer(", scope: step"), steps).problems;
    expect(differs).toMatchObject({ code: "STEP_ENDS_DIFFER", accepted: 'stepEnd: ";"' });
    const [pairsOfSteps] = plan([], steps).problems;
    expect(pairsOfSteps?.accepted).toMatch(/^loss: binary-cross-entropy for labelled steps/);
  });

  it("guards need what they look at, and what they change", () => {
    const guard = (type: string, reaction: string) =>
      `${PPO}.guards=[{name: g, watch: ${type}, reaction: ${reaction}}]`;
    const codes = (set: readonly string[]) => plan(set).problems.map(({ code }) => code);
    const none = `${PPO}.kl={placement: none}`;
    expect(codes([none, guard("kl", "stop")])).toEqual(["GUARD_WITHOUT_REFERENCE"]);
    expect(codes([none, guard("entropy", "raise-beta")])).toEqual(["GUARD_WITHOUT_BETA"]);
    // With a guard a coefficient of 0 measures; without one it would load a reference for nothing.
    const measured = `${PPO}.kl={placement: loss, coefficient: 0}`;
    expect(codes([measured])).toEqual(["KL_WITHOUT_EFFECT"]);
    expect(codes([measured, guard("kl", "stop")])).toEqual([]);
  });

  it("names what a reference may be", () => {
    const [problem] = plan([`${PPO}.rewards.preferred.model={from: stage/warm}`]).problems;
    expect(problem).toMatchObject({ value: "stage/warm", accepted: "stage/judge" });
    expect(problem?.message).toMatch(/of type sft is no reward model/);
  });
});
