/** What the defaults of every kind of stage are made from: lengths, sizes, optimizers, micro-batches. Pure. */
import type { ModelShape, ResolvedOptimizer, ResolvedSampling, ResolvedStage } from "../resolved.ts";
import type { OptimizerSpec, SamplingSpec } from "../run-file.ts";
import type { Scope } from "./origins.ts";
import { parameterCount } from "./shape.ts";

/** What defaults of stages follow from; before the model is known, a small one is assumed. */
export interface StageContext {
  readonly shape?: ModelShape;
  /** Tokens of the longest row of a data block, by its path; absent or 0 where nobody measured. */
  readonly longest?: ReadonlyMap<string, number>;
  /** Whether the model starts from random weights. */
  readonly fresh: boolean;
  /** The stages before this one, filled. */
  readonly before: readonly ResolvedStage[];
}

const ASSUMED_POSITIONS = 1024;
/** Default bounds of generated text and of a sequence in training. */
export const MOST_NEW_TOKENS = 256;
export const MOST_LENGTH = 1024;
/** Tokens of one gradient pass that a default micro-batch stays within: small ones stay in a core's cache. */
const MICRO_BATCH_TOKENS = 1024;
/** Training threads that a default micro-batch leaves work for: each takes whole micro-batches. */
const LANES_FED = 4;

/** A stage whose data was measured. */
export interface RowContext extends StageContext {
  /** Tokens of the longest row (SFT) or prompt (GRPO); 0 where nobody measured. */
  readonly rows: number;
}

/** No longer than the data needs, no longer than the model holds. */
export function lengthFor(rows: number, room: number): number {
  return rows > 0 ? Math.max(1, Math.min(rows, room)) : room;
}

export const positions = ({ shape }: Pick<StageContext, "shape">): number =>
  shape?.maxPositions ?? ASSUMED_POSITIONS;

export function fillSampling(
  sampling: SamplingSpec | undefined,
  at: Scope,
  context: Pick<StageContext, "shape">,
): ResolvedSampling {
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

/** Sizes, in parameters, below which a model counts as tiny and as small. */
const TINY_PARAMETERS = 10e6;
const SMALL_PARAMETERS = 60e6;

/** Larger models take smaller steps: [tiny, small, else]. */
export function bySize(
  { shape }: Pick<StageContext, "shape">,
  [tiny, small, large]: readonly [number, number, number],
): number {
  const parameters = shape === undefined ? 0 : parameterCount(shape);
  if (parameters < TINY_PARAMETERS) return tiny;
  return parameters < SMALL_PARAMETERS ? small : large;
}

/** A warm-up of so many steps, rounded up, that ends before the updates do: one that never does is refused. */
export const warmUp = (steps: number, updates: number): number => Math.min(Math.ceil(steps), updates - 1);

export type OptimizerDefaults = Pick<ResolvedOptimizer, "learningRate" | "warmupSteps" | "schedule">;

export function fillOptimizer(
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

export function microBatch(given: number | undefined, at: Scope, { batch, length }: BatchShape): number {
  const fits = Math.max(1, Math.min(Math.floor(MICRO_BATCH_TOKENS / length), Math.floor(batch / LANES_FED)));
  let size = Math.min(batch, fits);
  while (batch % size !== 0) size--;
  return at.derive(
    "microBatchSize",
    given,
    size,
    `largest divisor of a quarter of the batch within ${MICRO_BATCH_TOKENS} tokens`,
  );
}
