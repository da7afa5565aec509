/**
 * Wrong run files, models and data sets, each with words that its error must hold. The test runs them through the
 * command line's own preparation, and writes what they get into docs/bad-input.md.
 */

import { PIPELINE_CASES } from "./cases-pipeline.ts";
import { RLHF_CASES } from "./cases-rlhf.ts";
import { SCORER_CASES } from "./cases-scorers.ts";

/** One wrong input. */
export interface BadInput {
  readonly title: string;
  /** Changes the good run file: [what, instead]; several in order. */
  readonly change?: readonly (readonly [string, string])[];
  /** Replaces the run file altogether. */
  readonly text?: string | Uint8Array;
  readonly set?: readonly string[];
  /** Further files, by path relative to the run file. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  /** Changes the good model folder `model/`: text or bytes per file; null removes it. */
  readonly model?: Readonly<Record<string, ((bytes: Uint8Array) => Uint8Array | string) | null>>;
  /** Changes the good reward model's folder `scorer/`: how it is made, and what its alphabet is. */
  readonly scorer?: { readonly alphabet?: string; readonly maxPositions?: number };
  /** Parts of the error. */
  readonly says: readonly string[];
}

/** The run file that every case changes. Few rows: each case measures them with the tokenizer. */
export const GOOD_RUN: string = `apiVersion: oarlock.dev/v1alpha1
kind: TrainingRun
metadata: { name: addition }
spec:
  seed: 7
  model:
    init:
      hiddenSize: 32
      intermediateSize: 64
      layers: 2
      heads: 2
      maxPositions: 32
      tokenizer: { type: characters, characters: { alphabet: "0123456789+=" } }
  stages:
    - name: sft
      type: sft
      sft:
        data: { type: task, task: { name: addition, limit: 99 } }
        steps: 20
        optimizer: { learningRate: 3e-3 }
    - name: grpo
      type: grpo
      grpo:
        data: { type: task, task: { name: addition, limit: 99 } }
        steps: 20
        groupSize: 8
        sampling: { maxNewTokens: 8 }
        rewards:
          - { name: answer, type: exact }
`;

/** Everything about the file as text and about its fields. */
export const RUN_FILE_CASES: readonly BadInput[] = [
  { title: "an empty file", text: "", says: ["run.yaml:1:1", "holds no document"] },
  {
    title: "a file that is not text",
    text: Uint8Array.of(0xff, 0xfe, 0x00, 0x80),
    says: ["not text in UTF-8"],
  },
  {
    title: "a tab as indentation",
    change: [["  seed: 7", "\tseed: 7"]],
    says: ["run.yaml:5", "tab", "spaces"],
  },
  {
    title: "an unclosed bracket",
    change: [["{ name: addition }\nspec", "{ name: addition\nspec"]],
    says: ["run.yaml:"],
  },
  {
    title: "a key given twice",
    change: [["  seed: 7", "  seed: 7\n  seed: 8"]],
    says: ["run.yaml:6:3", "given twice"],
  },
  {
    title: "two documents",
    change: [["apiVersion", "kind: Other\n---\napiVersion"]],
    says: ["several documents"],
  },
  {
    title: "a bomb of aliases",
    text: `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [${"*a,".repeat(9)}]\nc: &c [${"*b,".repeat(9)}]\nd: [${"*c,".repeat(9)}]\n`,
    says: ["Excessive alias count"],
  },
  { title: "brackets without end", text: "[".repeat(10_000), says: ["nested too deeply"] },
  {
    title: "yes without quotes",
    change: [["seed: 7", "seed: 7\n  compute: { libraryPath: yes }"]],
    says: ["run.yaml:6:27", 'accepted: "yes" or true'],
  },
  {
    title: "1_000 without quotes",
    change: [["steps: 20\n        groupSize", "steps: 1_000\n        groupSize"]],
    says: ["run.yaml:25", "1000"],
  },
  { title: "017 without quotes", change: [["seed: 7", "seed: 017"]], says: ["run.yaml:5:9", "octal"] },
  {
    title: "12:30 without quotes",
    change: [["name: addition }\nspec", "name: 12:30 }\nspec"]],
    says: ["base-60"],
  },
  {
    title: "another API version",
    change: [["v1alpha1", "v1"]],
    says: ["run.yaml:1:1", "oarlock.dev/v1alpha1"],
  },
  {
    title: "a misspelt field",
    change: [["groupSize: 8", "gruopSize: 8"]],
    says: ["run.yaml:26", "did you mean groupSize?"],
  },
  {
    title: "a field of another framework",
    change: [["groupSize: 8", "num_generations: 8"]],
    says: ["did you mean groupSize?"],
  },
  {
    title: "a field one level too high",
    change: [["groupSize: 8", "learningRate: 1e-4"]],
    says: ["did you mean optimizer.learningRate?"],
  },
  {
    title: "a required field left out",
    change: [["        steps: 20\n        groupSize", "        groupSize"]],
    says: ["spec.stages[1].grpo.steps: is required", "an integer from 1"],
  },
  {
    title: "text for a number",
    change: [["groupSize: 8", "groupSize: eight"]],
    says: ["must be an integer", '"eight"'],
  },
  { title: "a number below its range", change: [["groupSize: 8", "groupSize: 0"]], says: ["is below 1"] },
  { title: "an integer beyond 2^53", change: [["seed: 7", "seed: 9007199254740993"]], says: ["2^53"] },
  {
    title: "an unknown word",
    change: [["type: exact", "type: exakt"]],
    says: ["did you mean exact?", "one of exact, regex"],
  },
  {
    title: "a name that Kubernetes refuses",
    change: [["name: addition }\nspec", "name: Addition_1 }\nspec"]],
    says: ["metadata.name", "lower-case letters"],
  },
  {
    title: "a block of another type",
    change: [["type: grpo", "type: sft"]],
    says: ["block 'grpo' is for type: grpo", "needs a block 'sft"],
  },
  {
    title: "a model from files and from nothing",
    change: [["  model:\n", "  model:\n    from: ./model\n"]],
    says: ["exactly one of 'from' and 'init'"],
  },
  ...PIPELINE_CASES,
  {
    title: "--set of a field that is not there",
    set: ["stages.grpo.grpo.stpes=5"],
    says: ["did you mean steps?"],
  },
  {
    title: "--set of a stage that is not there",
    set: ["stages.rl.grpo.steps=5"],
    says: ["no item 'rl'", "sft, grpo"],
  },
  { title: "--set of the wrong type", set: ["seed=seven"], says: ["must be a number", '"seven"'] },
];

/** Runs that would fail, or run and not learn. */
export const TRAP_CASES: readonly BadInput[] = [
  { title: "a group of one", set: ["stages.grpo.grpo.groupSize=1"], says: ["GROUP_TOO_SMALL", "8 to 16"] },
  {
    title: "a batch that does not divide",
    set: ["stages.grpo.grpo.microBatchSize=7"],
    says: ["BATCH_NOT_DIVISIBLE", "a divisor of 256"],
  },
  {
    title: "a context too short",
    set: ["stages.grpo.grpo.sampling.maxNewTokens=32"],
    says: ["CONTEXT_TOO_SHORT", "32 positions"],
  },
  {
    title: "a learning rate with a slipped decimal",
    set: ["stages.grpo.grpo.optimizer={learningRate: 0.1}"],
    says: ["LEARNING_RATE_RANGE", "allow"],
  },
  {
    title: "a stage that is over before the first update",
    set: ["pipeline={mode: streaming, maxStaleness: 32}"],
    says: ["LAG_TOO_LONG", "all steps of stage 2 would be sampled", "1 to 8"],
  },
  {
    title: "a warm-up that never ends",
    set: ["stages.sft.sft.optimizer.warmupSteps=20"],
    says: ["WARMUP_TOO_LONG", "less than 20"],
  },
  {
    title: "training on truncated samples",
    set: ["stages.grpo.grpo.sampling.topP=0.9"],
    says: ["TRUNCATED_SAMPLING"],
  },
  {
    title: "training on greedy samples",
    set: ["stages.grpo.grpo.sampling.temperature=0"],
    says: ["GREEDY_TRAINING"],
  },
  {
    title: "a KL coefficient without a placement",
    set: ["stages.grpo.grpo.kl={placement: none, coefficient: 0.1}"],
    says: ["KL_WITHOUT_PLACEMENT"],
  },
  {
    title: "rewards without weight",
    set: ["stages.grpo.grpo.rewards.answer.weight=0"],
    says: ["REWARDS_WITHOUT_WEIGHT"],
  },
  ...SCORER_CASES,
  {
    title: "bounds of a score in the wrong order",
    set: ["stages.grpo.grpo.rewards.answer.clip={min: 1, max: 0}"],
    says: ["min is not below max"],
  },
  {
    title: "an ensemble of a stage that trains no reward model",
    set: ["stages.grpo.grpo.rewards=[{name: a, type: ensemble, ensemble: {from: [stage/sft, stage/sft]}}]"],
    says: ["STAGE_RESULT_UNKNOWN"],
  },
  ...RLHF_CASES,
  { title: "two stages of one name", set: ["stages.sft.name=grpo"], says: ["this name is given twice"] },
  { title: "heads that do not divide the width", set: ["model.init.heads=3"], says: ["HEADS_DO_NOT_DIVIDE"] },
  {
    title: "a character twice in the alphabet",
    set: ["model.init.tokenizer.characters.alphabet=01230"],
    says: ["alphabet", "once"],
  },
  {
    title: "an evaluation on the training data",
    set: ["evaluation={data: {type: task, task: {name: addition, limit: 99}}}"],
    says: ["EVALUATION_ON_TRAINING_DATA", "another split"],
  },
  {
    title: "an evaluation on part of the training data",
    set: ["evaluation={data: {type: task, task: {name: addition, limit: 7}}}"],
    says: ["EVALUATION_ON_TRAINING_DATA", "7 of its 7 prompts", "another split"],
  },
  {
    title: "an evaluation that would leave out its longest prompts",
    set: ["evaluation={data: {type: task, task: {name: addition, split: test}}, maxPromptLength: 3}"],
    says: ["PROMPTS_TOO_LONG", "would be left out", "maxPromptLength: "],
  },
  {
    title: "a model that does not fit in memory",
    set: ["model.init.hiddenSize=65536", "model.init.intermediateSize=1048576", "model.init.layers=64"],
    says: ["MEMORY", "may use"],
  },
  {
    title: "several sampling threads with weights as inputs",
    set: ["compute={generationThreads: 2}"],
    says: ["BATCH_VARIANCE", "initializers"],
  },
];

const FROM_MODEL: readonly (readonly [string, string])[] = [
  [GOOD_RUN.slice(GOOD_RUN.indexOf("    init:"), GOOD_RUN.indexOf("  stages:")), "    from: ./model\n"],
];
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** Models that cannot be used. */
export const MODEL_CASES: readonly BadInput[] = [
  {
    title: "a model folder that is not there",
    change: [
      ["    init:", "    from: ./nowhere\n    init:"],
      [GOOD_RUN.slice(GOOD_RUN.indexOf("    init:"), GOOD_RUN.indexOf("  stages:")), ""],
    ],
    says: ["nowhere", "hf://org/name"],
  },
  {
    title: "a config.json that is not JSON",
    change: FROM_MODEL,
    model: { "config.json": () => "{ oops" },
    says: ["config.json"],
  },
  {
    title: "an architecture of another family",
    change: FROM_MODEL,
    model: { "config.json": (bytes) => text(bytes).replaceAll("Llama", "Bert").replaceAll("llama", "bert") },
    says: ["config.json", "ert"],
  },
  {
    title: "weights that are not numbers",
    change: FROM_MODEL,
    model: {
      "model.safetensors": (bytes) =>
        Uint8Array.from([...bytes.slice(0, bytes.length - 4), 0, 0, 0xc0, 0x7f]),
    },
    says: ["MODEL_NOT_FINITE", "holds NaN", "finite weights"],
  },
  {
    title: "a rope_theta of 0",
    change: FROM_MODEL,
    model: { "config.json": (bytes) => text(bytes).replace(/"rope_theta": [\d.]+/g, '"rope_theta": 0') },
    says: ["config.json", "rope_theta"],
  },
  {
    title: "quantized weights",
    change: FROM_MODEL,
    model: {
      "config.json": (bytes) =>
        text(bytes).replace("{", '{ "quantization_config": { "quant_method": "gptq", "bits": 4 },'),
    },
    says: ["config.json", "quantization_config"],
  },
  {
    title: "an end token outside of the vocabulary",
    change: FROM_MODEL,
    model: {
      "generation_config.json": () => '{"eos_token_id": 99999}',
    },
    says: ["99999"],
  },
  {
    title: "a model without weights",
    change: FROM_MODEL,
    model: { "model.safetensors": null },
    says: ["safetensors"],
  },
  {
    title: "weights cut off by a broken download",
    change: FROM_MODEL,
    model: { "model.safetensors": (bytes) => bytes.slice(0, bytes.length - 100) },
    says: ["model.safetensors"],
  },
  {
    title: "a weights file whose header claims 2^60 bytes",
    change: FROM_MODEL,
    model: { "model.safetensors": (bytes) => Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 16, ...bytes.slice(8)]) },
    says: ["model.safetensors"],
  },
  {
    title: "weights of another shape than the configuration",
    change: FROM_MODEL,
    model: {
      "config.json": (bytes) => text(bytes).replace(/"intermediate_size": \d+/, '"intermediate_size": 65'),
    },
    says: ["65"],
  },
  {
    title: "a model without a tokenizer",
    change: FROM_MODEL,
    model: { "tokenizer.json": null },
    says: ["tokenizer.json"],
  },
  {
    title: "a tokenizer.json without a vocabulary",
    change: FROM_MODEL,
    model: { "tokenizer.json": () => "{}" },
    says: ["tokenizer.json", "vocab"],
  },
];
