/** The whole run file: head, model, compute, evaluation, checkpoints. Stages, data and rewards have their own files. */
import * as z from "zod";
import type {
  ComputeSpec,
  CorrectionSpec,
  EvaluationSpec,
  ModelSpec,
  PipelineSpec,
  RunFile,
} from "../run-file.ts";
import {
  CORRECTION_LEVELS,
  DRIVERS,
  GENERATION_LAYOUTS,
  OPTIMIZATION_LEVELS,
  PIPELINE_MODES,
  PRECISIONS,
  PROVIDERS,
  ROPE_CONVENTIONS,
  TRAP_CODES,
} from "../vocabulary.ts";
import { clusterFields } from "./cluster.ts";
import { dataSchema } from "./data.ts";
import {
  choice,
  closed,
  integer,
  isObjectPayload,
  list,
  name,
  real,
  ruled,
  stringMap,
  text,
  union,
} from "./primitives.ts";
import { rewardsSchema } from "./rewards.ts";
import { stagesSchema } from "./stages.ts";

const MAX_TOKENS = 1_048_576;
const MAX_THREADS = 256;

const tokenizer = union(
  closed({
    type: choice(["characters", "file"]).describe("Kind of tokenizer."),
    characters: closed({ alphabet: text(4096).describe("Every character once.") })
      .describe("One token per character.")
      .optional(),
    file: closed({ path: text(1024).describe("A tokenizer.json, relative to the run file.") })
      .describe("A tokenizer in Hugging Face form.")
      .optional(),
  }),
  ["characters", "file"],
).describe("Tokenizer of a new model.");

const init = closed({
  architecture: choice(["llama"]).describe("Model family.").optional(),
  hiddenSize: integer(2, 65_536).describe("Width of the residual stream."),
  intermediateSize: integer(1, 1_048_576).describe("Width inside the feed-forward block."),
  layers: integer(1, 1024).describe("Transformer blocks."),
  heads: integer(1, 1024).describe("Query heads."),
  kvHeads: integer(1, 1024).describe("Key and value heads; divides heads.").optional(),
  headSize: integer(2, 4096).describe("Width of one head (default hiddenSize / heads).").optional(),
  maxPositions: integer(2, MAX_TOKENS).describe("Longest sequence."),
  ropeTheta: real(1, 1e9).describe("Base of the rotary embedding.").optional(),
  ropeConvention: choice(ROPE_CONVENTIONS).describe("Pairing of rotated elements.").optional(),
  rmsNormEps: real(1e-12, 1).describe("Epsilon of RMSNorm.").optional(),
  tiedEmbeddings: z.boolean().describe("Whether the output head shares the embedding.").optional(),
  qkvBias: z.boolean().describe("Biases on query, key and value (Qwen2).").optional(),
  qkNorm: z.boolean().describe("RMSNorm on query and key (Qwen3).").optional(),
  tokenizer,
}).describe("A new model from the seed.");

const model: z.ZodType<ModelSpec> = closed({
  from: text(512).describe("A model folder, or hf://org/name[@revision].").optional(),
  init: init.optional(),
})
  .superRefine(
    (value, context) => {
      if ((value.from === undefined) !== (value.init === undefined)) return;
      const message = "exactly one of 'from' and 'init' must be given";
      const accepted = "from: a folder or hf://org/name, or init: {…}";
      context.addIssue({ code: "custom", message, params: { accepted } });
    },
    { when: isObjectPayload },
  )
  .meta({
    description: "The initial policy: from files, or new.",
    "x-kubernetes-validations": [
      { rule: "has(self.from) != has(self.init)", message: "exactly one of 'from' and 'init' must be given" },
    ],
  });

const threads = (what: string) => integer(1, MAX_THREADS).describe(`Intra-op threads of ${what}.`).optional();

const compute: z.ZodType<ComputeSpec> = closed({
  provider: choice(PROVIDERS).describe("Execution provider of ONNX Runtime.").optional(),
  driver: choice(DRIVERS).describe("How ONNX Runtime is called.").optional(),
  libraryPath: text(1024).describe("Another build of ONNX Runtime's library.").optional(),
  precision: choice(PRECISIONS).describe("Element type of weights and arithmetic.").optional(),
  optimizationLevel: choice(OPTIMIZATION_LEVELS).describe("Graph optimisations of ONNX Runtime.").optional(),
  generationLayout: choice(GENERATION_LAYOUTS).describe("How samplers hold weights.").optional(),
  generationThreads: threads("one sampling session"),
  generationWorkers: integer(1, MAX_THREADS)
    .describe("Sampling sessions of one actor, in threads of their own.")
    .optional(),
  trainingThreads: integer(1, MAX_THREADS)
    .describe("Micro-batches that the trainer computes at a time, each on a thread of its own.")
    .optional(),
  actors: integer(1, 1024).describe("Actors of a local run.").optional(),
  rewardWorkers: integer(1, 1024).describe("Reward workers of a local run.").optional(),
  slots: integer(1, 65_536).describe("Sequences that one actor decodes at a time.").optional(),
}).describe("Where and how tensors are computed.");

const evaluation: z.ZodType<EvaluationSpec> = closed({
  data: dataSchema,
  every: integer(0, 10_000_000)
    .describe("Steps between evaluations; 0: only before and after each stage.")
    .optional(),
  samples: integer(1, 4096).describe("Samples per prompt: k of mean@k and pass@k.").optional(),
  temperature: real(0, 100).describe("Sampling temperature.").optional(),
  topK: integer(0, 1_000_000).describe("Keep the k likeliest tokens; 0 is off.").optional(),
  topP: real(1e-6, 1).describe("Keep the likeliest tokens of this mass; 1 is off.").optional(),
  maxNewTokens: integer(1, MAX_TOKENS).describe("Tokens per completion at most.").optional(),
  maxPromptLength: integer(1, MAX_TOKENS).describe("Tokens per prompt at most.").optional(),
  greedy: z.boolean().describe("Also decode each prompt once at temperature 0.").optional(),
  rewards: rewardsSchema.optional(),
  metric: name().describe("Reward that mean@k and pass@k are about (default: the first).").optional(),
  passThreshold: real(-1e6, 1e6).describe("A sample passes from this value of the metric on.").optional(),
}).describe("Held-out evaluation at a pinned policy version.");

const correction: z.ZodType<CorrectionSpec> = ruled(
  closed({
    level: choice(CORRECTION_LEVELS).describe("What the bounded ratio is of.").optional(),
    minRatio: real(0, 1).describe("Least ratio of learner to sampler.").optional(),
    maxRatio: real(1, 1000).describe("Greatest ratio of learner to sampler.").optional(),
  }),
  [
    {
      rule: "!has(self.level) || self.level != 'none' || !(has(self.minRatio) || has(self.maxRatio))",
      message: "level none has no bounds",
      path: ["level"],
      accepted: "token, sequence or token-mask, or no minRatio and maxRatio",
      holds: ({ level, minRatio, maxRatio }) =>
        level !== "none" || (minRatio === undefined && maxRatio === undefined),
    },
  ],
).describe("Weights of samples that older policies drew.");

const pipeline: z.ZodType<PipelineSpec> = ruled(
  closed({
    mode: choice(PIPELINE_MODES)
      .describe("lockstep: reproducible bit for bit; streaming: newest weights, also in mid-sequence.")
      .optional(),
    lag: integer(0, 8).describe("Lockstep: batches generated ahead of training.").optional(),
    maxStaleness: integer(1, 64)
      .describe("Streaming: versions that a trained sample may be behind the learner.")
      .optional(),
    correction: correction.optional(),
  }),
  [
    {
      rule: "!has(self.lag) || !has(self.mode) || self.mode == 'lockstep'",
      message: "lag is of mode: lockstep only",
      path: ["lag"],
      accepted: "maxStaleness with mode: streaming, or mode: lockstep",
      holds: ({ lag, mode }) => lag === undefined || mode !== "streaming",
    },
    {
      rule: "!(has(self.maxStaleness) || has(self.correction)) || (has(self.mode) && self.mode == 'streaming')",
      message: "maxStaleness and correction are of mode: streaming only",
      path: ["mode"],
      accepted: "mode: streaming, or lag with mode: lockstep",
      holds: ({ maxStaleness, correction: weights, mode }) =>
        (maxStaleness === undefined && weights === undefined) || mode === "streaming",
    },
  ],
).describe("How generation and training overlap.");

const spec = closed({
  seed: integer(0).describe("Seed of everything random.").optional(),
  model,
  pipeline: pipeline.optional(),
  compute: compute.optional(),
  stages: stagesSchema,
  evaluation: evaluation.optional(),
  checkpoints: closed({
    every: integer(1, 10_000_000).describe("Steps between checkpoints.").optional(),
    keep: integer(1, 1000).describe("Newest checkpoints kept.").optional(),
  })
    .describe("When the run can be resumed.")
    .optional(),
  output: closed({
    samplesPerStep: integer(0, 1024).describe("Samples written to samples.jsonl per step.").optional(),
    tensorboard: z.boolean().describe("Write TensorBoard event files.").optional(),
  })
    .describe("What the run folder holds.")
    .optional(),
  allow: list(choice(TRAP_CODES), 0, TRAP_CODES.length)
    .describe("Traps entered on purpose, by code.")
    .optional(),
  ...clusterFields,
}).describe("What to train, on what, how.");

/** The schema of a run file: the same for the command line and for the custom resource. */
export const runFileSchema: z.ZodType<RunFile> = closed({
  apiVersion: choice(["oarlock.dev/v1alpha1"]).describe("Version of this schema."),
  kind: choice(["TrainingRun"]).describe("Kind of document."),
  metadata: closed({
    name: name().describe("Name of the run."),
    namespace: text(63)
      .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/)
      .describe("Namespace on a cluster.")
      .optional(),
    labels: stringMap({ maxKey: 317, maxValue: 63, maxEntries: 64 })
      .describe("Labels on a cluster.")
      .optional(),
    annotations: stringMap({ maxKey: 317, maxValue: 16_384, maxEntries: 64 })
      .describe("Annotations on a cluster.")
      .optional(),
  }).describe("Identity."),
  spec,
});
