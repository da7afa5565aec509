/**
 * Fills the defaults of stages and of the evaluation. Many follow from the algorithm, the model's size or other
 * values of the stage; none from the machine (D1).
 */
import type {
  ModelShape,
  ResolvedEvaluation,
  ResolvedGrpo,
  ResolvedOptimizer,
  ResolvedSft,
  ResolvedStage,
} from "../resolved.ts";
import type { EvaluationSpec, GrpoSpec, OptimizerSpec, SftSpec, StageSpec } from "../run-file.ts";
import { fillData, fillRewards } from "./fill-data.ts";
import type { Scope } from "./origins.ts";
import { parameterCount } from "./shape.ts";

/** What defaults of stages follow from; before the model is known, a small one is assumed. */
export interface StageContext {
  readonly shape?: ModelShape;
  /** Tokens of the longest row of a data block, by its path; absent or 0 where nobody measured. */
  readonly longest?: ReadonlyMap<string, number>;
  /** Whether the model starts from random weights. */
  readonly fresh: boolean;
}

const ASSUMED_POSITIONS = 1024;
/** Default bounds of generated text and of a sequence in training. */
const MOST_NEW_TOKENS = 256;
const MOST_LENGTH = 1024;
/** Tokens of one gradient pass that a default micro-batch stays within. */
const MICRO_BATCH_TOKENS = 8192;

export function fillStage(
  stage: StageSpec,
  at: Scope,
  context: StageContext & { readonly index: number },
): ResolvedStage {
  const longest = context.longest?.get(`stages.${context.index}.${stage.type}.data`) ?? 0;
  const name = at.given("name", stage.name);
  const type = at.given("type", stage.type);
  if (type === "sft")
    return {
      name,
      type,
      sft: fillSft(at.given("sft", stage.sft), at.inside("sft"), { ...context, rows: longest }),
    };
  return {
    name,
    type,
    grpo: fillGrpo(at.given("grpo", stage.grpo), at.inside("grpo"), { ...context, rows: longest }),
  };
}

/** A stage whose data was measured. */
interface RowContext extends StageContext {
  /** Tokens of the longest row (SFT) or prompt (GRPO); 0 where nobody measured. */
  readonly rows: number;
}

/** No longer than the data needs, no longer than the model holds. */
function lengthFor(rows: number, room: number): number {
  return rows > 0 ? Math.max(1, Math.min(rows, room)) : room;
}

const positions = ({ shape }: StageContext) => shape?.maxPositions ?? ASSUMED_POSITIONS;

function fillSft(sft: SftSpec, at: Scope, context: RowContext): ResolvedSft {
  const steps = at.given("steps", sft.steps);
  const batchSize = at.fill("batchSize", sft.batchSize, 32);
  const room = Math.min(MOST_LENGTH, positions(context));
  const longest = Math.max(2, lengthFor(context.rows, room));
  const maxLength = at.derive(
    "maxLength",
    sft.maxLength,
    longest,
    "the longest row and the model's positions",
  );
  const learningRate = context.fresh ? 1e-3 : bySize(context, [3e-4, 1e-4, 2e-5]);
  const warmupSteps = Math.ceil(steps / 20);
  return {
    data: fillData(sft.data, at.inside("data")),
    steps,
    batchSize,
    microBatchSize: microBatch(sft.microBatchSize, at, { batch: batchSize, length: maxLength }),
    maxLength,
    mask: at.fill("mask", sft.mask, "completion"),
    optimizer: fillOptimizer(sft.optimizer, at.inside("optimizer"), {
      learningRate,
      warmupSteps,
      schedule: "cosine",
    }),
  };
}

function fillGrpo(grpo: GrpoSpec, at: Scope, context: RowContext): ResolvedGrpo {
  const steps = at.given("steps", grpo.steps);
  const promptsPerStep = at.fill("promptsPerStep", grpo.promptsPerStep, 32);
  const groupSize = at.fill("groupSize", grpo.groupSize, 8);
  const sampling = fillSampling(grpo.sampling, at.inside("sampling"), context);
  const room = Math.max(1, Math.min(MOST_LENGTH, positions(context)) - sampling.maxNewTokens);
  const longest = lengthFor(context.rows, room);
  const why = "the longest prompt and the model's positions";
  const maxPromptLength = at.derive("maxPromptLength", grpo.maxPromptLength, longest, why);
  const advantage = at.fill("advantage", grpo.advantage, "grpo");
  const aggregation = advantage === "dr-grpo" ? "dr-grpo" : "token-mean-global";
  const warmupSteps = Math.min(10, Math.ceil(steps / 10));
  const learningRate = bySize(context, [1e-4, 5e-5, 1e-6]);
  const length = maxPromptLength + sampling.maxNewTokens;
  return {
    data: fillData(grpo.data, at.inside("data")),
    steps,
    promptsPerStep,
    groupSize,
    epochs: at.fill("epochs", grpo.epochs, 1),
    microBatchSize: microBatch(grpo.microBatchSize, at, { batch: promptsPerStep * groupSize, length }),
    maxPromptLength,
    sampling,
    rewards: fillRewards(grpo.rewards, at.inside("rewards")),
    advantage,
    clip: {
      low: at.inside("clip").fill("low", grpo.clip?.low, 0.2),
      high: at.inside("clip").fill("high", grpo.clip?.high, 0.2),
    },
    dualClip: at.fill("dualClip", grpo.dualClip, 0),
    kl: fillKl(grpo.kl, at.inside("kl")),
    aggregation: at.derive("aggregation", grpo.aggregation, aggregation, "advantage"),
    optimizer: fillOptimizer(grpo.optimizer, at.inside("optimizer"), {
      learningRate,
      warmupSteps,
      schedule: "constant",
    }),
  };
}

function fillSampling(
  sampling: GrpoSpec["sampling"],
  at: Scope,
  context: StageContext,
): ResolvedGrpo["sampling"] {
  const half = Math.max(1, Math.min(MOST_NEW_TOKENS, Math.floor(positions(context) / 2)));
  return {
    temperature: at.fill("temperature", sampling?.temperature, 1),
    topK: at.fill("topK", sampling?.topK, 0),
    topP: at.fill("topP", sampling?.topP, 1),
    maxNewTokens: at.derive(
      "maxNewTokens",
      sampling?.maxNewTokens,
      half,
      `half of the positions, at most ${MOST_NEW_TOKENS}`,
    ),
  };
}

/** In the loss k3 (low variance, differentiable) with DeepSeekMath's 0.04; in the reward k1, detached, with 0.01. */
const KL_DEFAULTS = {
  none: { estimator: "k3", coefficient: 0 },
  loss: { estimator: "k3", coefficient: 0.04 },
  reward: { estimator: "k1", coefficient: 0.01 },
} as const;

function fillKl(kl: GrpoSpec["kl"], at: Scope): ResolvedGrpo["kl"] {
  const placement = at.fill("placement", kl?.placement, "loss");
  const defaults = KL_DEFAULTS[placement];
  return {
    placement,
    estimator: at.derive("estimator", kl?.estimator, defaults.estimator, "placement"),
    coefficient: at.derive("coefficient", kl?.coefficient, defaults.coefficient, "placement"),
  };
}

/** Sizes, in parameters, below which a model counts as tiny and as small. */
const TINY_PARAMETERS = 10e6;
const SMALL_PARAMETERS = 60e6;

/** Larger models take smaller steps: [tiny, small, else]. */
function bySize({ shape }: StageContext, [tiny, small, large]: readonly [number, number, number]): number {
  const parameters = shape === undefined ? 0 : parameterCount(shape);
  if (parameters < TINY_PARAMETERS) return tiny;
  return parameters < SMALL_PARAMETERS ? small : large;
}

type OptimizerDefaults = Pick<ResolvedOptimizer, "learningRate" | "warmupSteps" | "schedule">;

function fillOptimizer(
  given: OptimizerSpec | undefined,
  at: Scope,
  defaults: OptimizerDefaults,
): ResolvedOptimizer {
  return {
    learningRate: at.derive(
      "learningRate",
      given?.learningRate,
      defaults.learningRate,
      "the algorithm and the model's size",
    ),
    warmupSteps: at.derive(
      "warmupSteps",
      given?.warmupSteps,
      defaults.warmupSteps,
      "the algorithm and steps",
    ),
    schedule: at.derive("schedule", given?.schedule, defaults.schedule, "the algorithm"),
    minLearningRate: at.fill("minLearningRate", given?.minLearningRate, 0),
    weightDecay: at.fill("weightDecay", given?.weightDecay, 0.01),
    beta1: at.fill("beta1", given?.beta1, 0.9),
    beta2: at.fill("beta2", given?.beta2, 0.999),
    epsilon: at.fill("epsilon", given?.epsilon, 1e-8),
    maxGradNorm: at.fill("maxGradNorm", given?.maxGradNorm, 1),
  };
}

interface BatchShape {
  /** Sequences per optimizer step. */
  readonly batch: number;
  /** Tokens per sequence at most. */
  readonly length: number;
}

function microBatch(given: number | undefined, at: Scope, { batch, length }: BatchShape): number {
  const fits = Math.max(1, Math.floor(MICRO_BATCH_TOKENS / length));
  let size = Math.min(batch, fits);
  while (batch % size !== 0) size--;
  return at.derive(
    "microBatchSize",
    given,
    size,
    `largest divisor of the batch within ${MICRO_BATCH_TOKENS} tokens`,
  );
}

/** Defaults of an evaluation follow from the last GRPO stage, where there is one. */
export function fillEvaluation(
  evaluation: EvaluationSpec,
  at: Scope,
  context: StageContext & { readonly stages: readonly ResolvedStage[] },
): ResolvedEvaluation {
  const last = context.stages.findLast((stage) => stage.type === "grpo")?.grpo;
  const sampling = last?.sampling ?? {
    maxNewTokens: Math.max(1, Math.min(MOST_NEW_TOKENS, Math.floor(positions(context) / 2))),
  };
  const maxNewTokens = at.derive(
    "maxNewTokens",
    evaluation.maxNewTokens,
    sampling.maxNewTokens,
    "the last GRPO stage",
  );
  const room = Math.max(1, Math.min(MOST_LENGTH, positions(context)) - maxNewTokens);
  const longest = lengthFor(context.longest?.get("evaluation.data") ?? 0, room);
  const rewards =
    evaluation.rewards === undefined
      ? at.derive("rewards", undefined, last?.rewards ?? [], "the last GRPO stage")
      : fillRewards(evaluation.rewards, at.inside("rewards"));
  return {
    data: fillData(evaluation.data, at.inside("data")),
    every: at.fill("every", evaluation.every, 0),
    samples: at.fill("samples", evaluation.samples, 4),
    temperature: at.fill("temperature", evaluation.temperature, 1),
    topK: at.fill("topK", evaluation.topK, 0),
    topP: at.fill("topP", evaluation.topP, 1),
    maxNewTokens,
    maxPromptLength: at.derive(
      "maxPromptLength",
      evaluation.maxPromptLength,
      longest,
      "the longest prompt and the model's positions",
    ),
    greedy: at.fill("greedy", evaluation.greedy, true),
    rewards,
    metric: at.derive("metric", evaluation.metric, rewards[0]?.name ?? "", "the first reward"),
    passThreshold: at.fill("passThreshold", evaluation.passThreshold, 1),
  };
}
