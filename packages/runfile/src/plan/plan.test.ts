/** Plans: defaults and their origins, digests, estimates, and every trap with its mend. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatDuration } from "./format.ts";
import { batchesInFlight, laggingVersions } from "../pipeline.ts";
import { formatProblem } from "../problem.ts";
import { readRunFile } from "../read-run-file.ts";
import { irreproducibleBecause } from "../reproducible.ts";
import { minimalRun } from "../specimens.ts";
import { referenceBy, rolloutsOf } from "../stage-parts.ts";
import { canonicalJson, digestOf } from "./digest.ts";
import type { PlanFacts } from "./facts.ts";
import { estimateMemory } from "./memory.ts";
import { type Plan, resolvePlan } from "./plan.ts";
import { parameterCount } from "./shape.ts";
import { estimateTime } from "./time.ts";

const GIB = 1024 ** 3;

const rows = { digest: "rows", rows: 5000, longestPrompt: 6, parts: ["prompt", "completion", "answer"] };

function facts(changes: Partial<PlanFacts> = {}): PlanFacts {
  return {
    model: { vocabSize: 15, digest: "", tokenizerDigest: "t", chatTemplateDigest: "" },
    data: new Map([
      ["stages.0.sft.data", rows],
      ["stages.1.grpo.data", rows],
      ["evaluation.data", rows],
    ]),
    functions: new Map(),
    engine: { oarlock: "0.1.0", onnxruntime: "1.30.0", instructionSet: "x64-avx2" },
    machine: { memoryBytes: 8 * GIB },
    ...changes,
  };
}

function plan(set: readonly string[] = [], changes: Partial<PlanFacts> = {}): Plan {
  const read = readRunFile(minimalRun(), { file: "run.yaml", set });
  if (!read.ok) throw new Error(read.problems.map(formatProblem).join("\n"));
  return resolvePlan(read.file, facts(changes));
}

describe("defaults", () => {
  it("fills every value, and says where each comes from", () => {
    const { run, origins, problems } = plan(["stages.learn.grpo.groupSize=4"]);
    expect(problems).toEqual([]);
    const learn = run.spec.stages[1];
    expect(learn).toMatchObject({
      type: "grpo",
      grpo: {
        groupSize: 4,
        promptsPerStep: 32,
        maxPromptLength: 6,
        microBatchSize: 32,
        aggregation: "token-mean-global",
        kl: { placement: "loss", estimator: "k3", coefficient: 0.04 },
        optimizer: { learningRate: 1e-4, schedule: "constant", warmupSteps: 2 },
      },
    });
    const origin = (path: string) => origins.get(`spec.stages.1.grpo.${path}`);
    expect(origin("groupSize")).toEqual({ type: "set", text: "stages.learn.grpo.groupSize=4" });
    expect(origin("steps")).toEqual({ type: "file", file: "run.yaml", line: 17, column: 9 });
    expect(origin("epochs")).toEqual({ type: "default" });
    expect(origin("kl.coefficient")).toEqual({ type: "derived", why: "placement" });
  });

  it("a stage may wait for a score that its evaluations give", () => {
    const ends = "stages.learn.grpo.until={atLeast: 0.3, score: greedy}";
    const evaluated = (more: string): string =>
      `evaluation={data: {type: task, task: {name: addition, split: test}}, every: 5${more}}`;
    const codes = (...set: readonly string[]) => plan(set).problems.map(({ code }) => code);
    expect(codes(ends, evaluated(""))).toEqual([]);
    expect(codes(ends, evaluated(", greedy: false"))).toEqual(["UNTIL_UNSEEN"]);
    expect(codes(ends, evaluated(""), "stages.learn.grpo.steps=5")).toEqual(["UNTIL_UNSEEN"]);
    expect(codes(ends, evaluated(""), "stages.learn.grpo.steps=6")).toEqual([]);
    const { spec } = plan(["stages.warm.sft.until={atLeast: 0.3}", evaluated("")]).run;
    expect(spec.stages[0]).toMatchObject({ sft: { until: { score: "mean", atLeast: 0.3 } } });
  });

  it("D1c: who is asked between steps decides where a stage ends", () => {
    const until = "stages.warm.sft.until={atLeast: 0.3}";
    const because = (set: readonly string[], metric: string, more: string): string | undefined => {
      const liked = `{name: liked, type: http, http: {url: "http://127.0.0.1:8000/score"}${more}}`;
      const rewards = `[{name: answer, type: exact}, ${liked}]`;
      const data = "{type: task, task: {name: addition, split: test}}";
      const evaluation = `evaluation={data: ${data}, every: 5, metric: ${metric}, rewards: ${rewards}}`;
      return irreproducibleBecause(plan([evaluation, ...set]).run.spec);
    };
    expect(because([], "liked", "")).toBeUndefined();
    expect(because([until], "answer", "")).toContain("liked (http, evaluation)");
    expect(because([until], "liked", ", weight: 0")).toContain("liked (http, evaluation)");
    expect(because([until], "answer", ", weight: 0")).toBeUndefined();
    expect(because([until], "liked", ", service: {deterministic: true}")).toBeUndefined();
  });

  it("lets defaults follow the algorithm", () => {
    const { spec } = plan([
      "stages.learn.grpo.advantage=dr-grpo",
      "stages.learn.grpo.kl={placement: reward}",
    ]).run;
    expect(spec.stages[1]).toMatchObject({
      grpo: { aggregation: "dr-grpo", kl: { placement: "reward", estimator: "k1", coefficient: 0.01 } },
    });
  });

  it("has an origin for every leaf of the resolved spec", () => {
    const { run, origins } = plan(["evaluation={data: {type: task, task: {name: addition, split: test}}}"]);
    const leaves = (value: unknown, path: string): string[] => {
      if (origins.has(path) || typeof value !== "object" || value === null) return [path];
      return Object.entries(value).flatMap(([key, child]) => leaves(child, `${path}.${key}`));
    };
    expect(leaves(run.spec, "spec").filter((path) => !origins.has(path))).toEqual([]);
  });

  it("counts parameters as the published model has them: stories260K", () => {
    const shape = {
      ...plan().run.inputs.model.shape,
      vocabSize: 512,
      hiddenSize: 64,
      intermediateSize: 172,
      layers: 5,
    };
    expect(parameterCount({ ...shape, heads: 8, kvHeads: 4, headSize: 8 })).toBe(260_032);
  });
});

describe("D1: the digest", () => {
  const digest = (...set: string[]) => plan(set).run.digest;

  it.each([
    "compute.actors=3",
    "compute.generationWorkers=1",
    "compute.rewardWorkers=2",
    "checkpoints.every=1",
    "output.samplesPerStep=0",
    "metadata.name=b",
  ])("D1: does not change with %s", (set) => expect(digest(set)).toBe(digest()));

  it.each([
    "seed=8",
    "compute.trainingThreads=1",
    "compute.generationLayout=initializers",
    "stages.warm.sft.microBatchSize=16",
    "pipeline.lag=0",
  ])("D1: changes with %s", (set) => expect(digest(set)).not.toBe(digest()));

  it("D1: changes with the data, the engine and the instruction set", () => {
    const engine = { ...facts().engine, instructionSet: "x64-avx512" };
    const data = new Map([...facts().data, ["stages.0.sft.data", { ...rows, digest: "other" }]]);
    expect(new Set([digest(), plan([], { engine }).run.digest, plan([], { data }).run.digest]).size).toBe(3);
  });

  it("does not depend on the order of keys", () => {
    const shuffled = (value: unknown): unknown =>
      typeof value !== "object" || value === null || Array.isArray(value)
        ? value
        : Object.fromEntries(
            Object.entries(value)
              .toReversed()
              .map(([key, child]) => [key, shuffled(child)]),
          );
    const alike = (value: unknown) => {
      expect(digestOf(shuffled(value))).toBe(digestOf(value));
      expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
    };
    fc.assert(fc.property(fc.jsonValue(), alike));
  });
});

it("warms up in a stage of one step no longer than the stage", () => {
  const set = ["stages.warm.sft.steps=1", "stages.learn.grpo.steps=1", "pipeline.lag=0"];
  const { problems, run } = plan(set);
  expect(problems).toEqual([]);
  expect(run.spec.stages).toMatchObject([
    { sft: { optimizer: { warmupSteps: 0 } } },
    { grpo: { optimizer: { warmupSteps: 0 } } },
  ]);
});

it("counts the rows that a supervised stage leaves out", () => {
  const lengths = [6, 5, 8, 9];
  const data = new Map([...facts().data, ["stages.0.sft.data", { ...rows, longestPrompt: 9, lengths }]]);
  expect(plan(["stages.warm.sft.maxLength=7"], { data }).overlong).toEqual([
    { path: "stages.0.sft.data", rows: 2, of: 4, maxLength: 7 },
  ]);
  expect(plan([], { data }).overlong).toEqual([]);
});

describe("traps", () => {
  const GRPO = "stages.learn.grpo";

  it.each([
    ["GROUP_TOO_SMALL", `${GRPO}.groupSize=1`],
    ["BATCH_NOT_DIVISIBLE", `${GRPO}.microBatchSize=7`],
    ["BATCH_NOT_DIVISIBLE", "stages.warm.sft.microBatchSize=33"],
    ["CONTEXT_TOO_SHORT", `${GRPO}.maxPromptLength=30`],
    ["CONTEXT_TOO_SHORT", "stages.warm.sft.maxLength=33"],
    ["PROMPTS_TOO_LONG", `${GRPO}.maxPromptLength=4`],
    ["LEARNING_RATE_RANGE", `${GRPO}.optimizer={learningRate: 1e-2}`],
    ["LEARNING_RATE_RANGE", "stages.warm.sft.optimizer={learningRate: 1}"],
    ["WARMUP_TOO_LONG", "stages.warm.sft.optimizer={warmupSteps: 20}"],
    ["SCHEDULE_RISES", "stages.warm.sft.optimizer={minLearningRate: 1}"],
    ["GREEDY_TRAINING", `${GRPO}.sampling.temperature=0`],
    ["TRUNCATED_SAMPLING", `${GRPO}.sampling.topP=0.9`],
    ["TRUNCATED_SAMPLING", `${GRPO}.sampling.topK=5`],
    ["EPOCHS_MANY", `${GRPO}.epochs=9`],
    ["DUAL_CLIP_TOO_LOW", `${GRPO}.dualClip=1`],
    ["KL_WITHOUT_EFFECT", `${GRPO}.kl={coefficient: 0}`],
    ["KL_WITHOUT_PLACEMENT", `${GRPO}.kl={placement: none, coefficient: 0.1}`],
    ["KL_GRADIENT_ZERO", `${GRPO}.kl={estimator: k1}`],
    ["REWARDS_WITHOUT_WEIGHT", `${GRPO}.rewards.answer.weight=0`],
    ["REWARD_FIELD_MISSING", `${GRPO}.rewards.answer.exact={field: solution}`],
    ["LAG_TOO_LONG", `${GRPO}.steps=1`],
    ["DATA_SMALLER_THAN_STEP", `${GRPO}.promptsPerStep=8192`],
    ["EVALUATION_ON_TRAINING_DATA", "evaluation={data: {type: task, task: {name: addition}}}"],
    [
      "GREEDY_SAMPLES",
      "evaluation={data: {type: task, task: {name: addition, split: test}}, temperature: 0}",
    ],
    ["METRIC_UNKNOWN", "evaluation={data: {type: task, task: {name: addition, split: test}}, metric: other}"],
    [
      "PROMPTS_TOO_LONG",
      "evaluation={data: {type: task, task: {name: addition, split: test}}, maxPromptLength: 4}",
    ],
    ["UNTIL_UNSEEN", "stages.warm.sft.until={atLeast: 0.3}"],
    ["UNTIL_UNREACHABLE", "stages.warm.sft.until={atLeast: 2, score: pass}"],
    ["HEADS_DO_NOT_DIVIDE", "model.init.heads=5"],
    ["KV_HEADS_DO_NOT_DIVIDE", "model.init.kvHeads=3"],
    ["HEAD_SIZE_ODD", "model.init.headSize=15"],
    ["ALPHABET_REPEATS", "model.init.tokenizer.characters.alphabet=0123+1"],
    ["BATCH_VARIANCE", "compute={generationLayout: inputs, generationThreads: 2}"],
  ])("%s: %s", (code, set) => {
    const { problems } = plan([set]);
    expect(problems.map((problem) => problem.code)).toContain(code);
    expect(
      problems.filter((problem) => problem.file === undefined || (problem.accepted ?? "") === ""),
    ).toEqual([]);
  });

  it("counts the reference of every actor where actors compute with it, and refuses one that nobody compares with", () => {
    const byActors = (...set: string[]) => plan([`${GRPO}.reference.computedBy=actors`, ...set]);
    const weights = plan().memory.reference;
    expect(weights).toBe(4 * parameterCount(plan().run.inputs.model.shape));
    const [one, three] = [1, 3].map((actors) => byActors(`compute.actors=${actors}`).memory.reference);
    expect(one).toBeGreaterThan(3 * weights);
    expect(three! - one!).toBe(2 * (one! - 2 * weights));
    // Another stage's, by the learner, is held beside them.
    const { spec, inputs } = byActors().run;
    const stages = [...spec.stages, ...plan().run.spec.stages];
    expect(estimateMemory({ ...spec, stages }, inputs).reference - one!).toBe(weights);
    const unused = byActors(`${GRPO}.kl={placement: none, coefficient: 0}`);
    expect(unused.problems.map(({ code }) => code)).toEqual(["REFERENCE_WITHOUT_USE"]);
    expect(unused.memory.reference).toBe(0);
  });

  it("has no word of who computes but where actors do: a plan of the learner's is the plan that it was", () => {
    const blockOf = ({ run }: Plan) => rolloutsOf(run.spec.stages.at(-1));
    const named = plan([`${GRPO}.reference.computedBy=learner`]);
    expect(blockOf(plan())).not.toHaveProperty("reference");
    expect(named.run.digest).toBe(plan().run.digest);
    expect(named.origins).toEqual(plan().origins);
    expect(blockOf(plan([`${GRPO}.reference.computedBy=actors`]))?.reference).toEqual({
      computedBy: "actors",
    });
    expect(referenceBy(plan().run.spec.stages.at(-1))).toBe("learner");
  });

  it("refuses what does not fit in memory, names the largest part, and bounds it by the machine, not by the plan", () => {
    const tight = plan([], { machine: { memoryBytes: 100 * 1024 ** 2 } });
    expect(tight.problems.map(({ code }) => code)).toEqual(["MEMORY"]);
    expect(tight.problems[0]?.message).toMatch(/needs about [\d.]+ GiB and may use 100 MiB/);
    expect(tight.run).toEqual(plan().run);
  });

  it.each([
    [499, []],
    [500, ["EVALUATION_ON_TRAINING_DATA"]],
  ])("counts prompts that are trained on among those of the evaluation: %d of 5000", (shared, codes) => {
    const held = { ...rows, shared: { "stages.0.sft.data": 3, "stages.1.grpo.data": shared } };
    const { problems } = plan(["evaluation={data: {type: task, task: {name: addition, split: test}}}"], {
      data: new Map([...facts().data, ["evaluation.data", held]]),
    });
    expect(problems.map(({ code }) => code)).toEqual(codes);
    if (shared === 500) {
      expect(problems[0]?.message).toMatch(/500 of its 5000 prompts .* stages\.1\.grpo\.data/);
    }
  });

  it("lets a run enter an allowable trap on purpose", () => {
    const { problems, allowed } = plan([
      `${GRPO}.optimizer={learningRate: 1e-3}`,
      "allow=[LEARNING_RATE_RANGE]",
    ]);
    expect(problems).toEqual([]);
    expect(allowed.map(({ code }) => code)).toEqual(["LEARNING_RATE_RANGE"]);
  });

  it("refuses to plan a model from files whose shape nobody read", () => {
    expect(() => plan(["model.init=null", "model.from=./m"])).toThrow("PLAN_FACTS_MISSING");
  });
});

describe("streaming", () => {
  it("fills staleness and correction, and takes the place of the lag in every bound", () => {
    const { run, origins, problems } = plan(["pipeline.mode=streaming"]);
    expect(problems).toEqual([]);
    expect(run.spec.pipeline).toEqual({
      mode: "streaming",
      maxStaleness: 4,
      correction: { level: "token", minRatio: 0, maxRatio: 2 },
    });
    expect(origins.get("spec.pipeline.correction.maxRatio")).toEqual({ type: "derived", why: "the level" });
    expect(batchesInFlight(run.spec.pipeline)).toBe(5);
    expect(laggingVersions(run.spec.pipeline)).toBe(0);
    expect(plan(["pipeline.mode=streaming", "pipeline.maxStaleness=3"]).run.digest).not.toBe(run.digest);
  });
});

describe("time", () => {
  it("takes the longer of generation and training with lag, their sum without", () => {
    const calibration = { trainTokensPerSecond: 1000, generateTokensPerSecond: 500 };
    const seconds = (lag: number) => {
      const { run, tokens } = plan([`pipeline.lag=${lag}`]);
      return estimateTime({ spec: run.spec, tokens, calibration, evaluationRows: 0 }).stages[1]?.stepSeconds;
    };
    // 32 × 8 sequences of 6 + 8 tokens: 3584 trained, 2048 generated.
    expect(seconds(1)).toBeCloseTo(4.096, 9);
    expect(seconds(0)).toBeCloseTo(3.584 + 4.096, 9);
  });
});

describe("durations", () => {
  it("are never rounded into a unit that does not exist", () => {
    expect([0.0254, 0.25, 9.96, 59.7, 119.7, 3599.7, 7500].map(formatDuration)).toEqual([
      "25 ms",
      "0.3 s",
      "10 s",
      "1 min 0 s",
      "2 min 0 s",
      "1 h 0 min",
      "2 h 5 min",
    ]);
  });
});
