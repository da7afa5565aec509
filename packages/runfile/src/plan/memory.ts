/**
 * Peak memory of a run, by part, in bytes: counted from shapes, before anything is allocated.
 *
 * Weights, gradients and moments are exact; activations count the tensors that the backward pass keeps. Knows no
 * engine; tests hold it against measured peaks.
 */
import type { ModelShape, ResolvedSpec, ResolvedStage } from "../resolved.ts";
import { laggingVersions } from "../pipeline.ts";
import { modelsOf, rolloutsOf } from "../stage-parts.ts";
import { parameterCount } from "./shape.ts";

const FLOAT_BYTES = 4;
/** Node, the engine's library and code, before any model. */
const RUNTIME_BYTES = 220 * 1024 * 1024;
/** Copies of the logits alive at once: logits, log-softmax, and their gradient. */
const LOGIT_COPIES = 3;

/** Versions besides those that lag needs: the current one, one being published, and those not yet pruned. */
const HELD_VERSIONS = 5;

/** Bytes by what they hold; `total` is their sum. */
export interface MemoryEstimate {
  readonly runtime: number;
  /** Weights of the trainer, its gradients and both moments. */
  readonly trainer: number;
  /** The frozen reference policy of a stage with KL. */
  readonly reference: number;
  /** Weights, gradients and moments of a critic or a reward model in training, and reward models that score. */
  readonly scorers: number;
  /** Snapshots of the weights: those published and not yet pruned, and the one being written. */
  readonly snapshots: number;
  /** What a checkpoint copies before it is written: weights, both moments, the reference, what lag needs. */
  readonly checkpoint: number;
  /** Weights as the actors hold them, with the engine's prepacked copy. */
  readonly samplers: number;
  /** Keys and values of all slots of all actors. */
  readonly cache: number;
  /** Activations and logits of the largest micro-batch. */
  readonly activations: number;
  readonly total: number;
}

/** The peak over all stages. */
export function estimateMemory(spec: ResolvedSpec, shape: ModelShape): MemoryEstimate {
  const weights = parameterCount(shape) * FLOAT_BYTES;
  const generates =
    spec.evaluation !== undefined || spec.stages.some((stage) => rolloutsOf(stage) !== undefined);
  const reference = spec.stages.some((stage) => (rolloutsOf(stage)?.kl.placement ?? "none") !== "none");
  // A guard that rolls back keeps the last good policy.
  const good = spec.stages.some((stage) =>
    rolloutsOf(stage)?.guards.some(({ reaction }) => reaction === "roll-back"),
  );
  const lanes = spec.compute.trainingThreads;
  const parts = {
    runtime: RUNTIME_BYTES,
    // Each lane has gradients of its own.
    trainer: (3 + lanes) * weights,
    reference: reference ? weights : 0,
    scorers: scorerWeights(spec) * weights,
    snapshots: (laggingVersions(spec.pipeline) + HELD_VERSIONS + (good ? 1 : 0)) * weights,
    checkpoint: (3 + (reference ? 1 : 0) + laggingVersions(spec.pipeline)) * weights,
    samplers: generates ? spec.compute.actors * samplerBytes(spec, weights) : 0,
    cache: generates
      ? spec.compute.actors * cacheBytes(shape, spec.compute.slots, longestGenerated(spec))
      : 0,
    activations:
      lanes *
      Math.max(
        0,
        ...spec.stages.map((stage) =>
          activationBytes(shape, { ...passOf(stage), logits: stage.type !== "reward-model" }),
        ),
      ),
  };
  return { ...parts, total: Object.values(parts).reduce((sum, part) => sum + part, 0) };
}

/** Sequences of one gradient pass, and their length at most. */
export function passOf(stage: ResolvedStage): { readonly sequences: number; readonly length: number } {
  if (stage.type === "sft") return { sequences: stage.sft.microBatchSize, length: stage.sft.maxLength };
  if (stage.type === "reward-model") {
    const { microBatchSize, maxLength, answers } = stage["reward-model"];
    return { sequences: answers * microBatchSize, length: maxLength };
  }
  const { microBatchSize, maxPromptLength, sampling } = stage.type === "grpo" ? stage.grpo : stage.ppo;
  const mixed = stage.type === "ppo" ? (stage.ppo.ptx?.maxLength ?? 0) : 0;
  return { sequences: microBatchSize, length: Math.max(maxPromptLength + sampling.maxNewTokens, mixed) };
}

/** One trainer beside the policy's at a time (weights, gradients, moments), and the reward models that score. */
function scorerWeights({ stages }: ResolvedSpec): number {
  const trained = stages.some(({ type }) => type === "reward-model" || type === "ppo") ? 4 : 0;
  const scoring = stages.map((stage) => (rolloutsOf(stage)?.rewards ?? []).flatMap(modelsOf).length);
  return trained + Math.max(0, ...scoring);
}

/** Each session packs the weights; as initializers, the engine holds a prepacked copy besides. */
function samplerBytes({ compute }: ResolvedSpec, weights: number): number {
  return (compute.generationLayout === "inputs" ? 1 : 2) * weights * compute.generationWorkers;
}

/** Keys and values: 2 × layers × kvHeads × headSize floats a token. */
function cacheBytes(shape: ModelShape, slots: number, length: number): number {
  return 2 * shape.layers * shape.kvHeads * shape.headSize * slots * length * FLOAT_BYTES;
}

function longestGenerated(spec: ResolvedSpec): number {
  const ofStages = spec.stages.map((stage) => {
    const rollouts = rolloutsOf(stage);
    return rollouts === undefined ? 0 : rollouts.maxPromptLength + rollouts.sampling.maxNewTokens;
  });
  const { evaluation } = spec;
  return Math.max(
    ...ofStages,
    evaluation === undefined ? 0 : evaluation.maxPromptLength + evaluation.maxNewTokens,
  );
}

/** What the backward pass of one micro-batch keeps. */
function activationBytes(
  shape: ModelShape,
  { sequences, length, logits }: { sequences: number; length: number; logits: boolean },
): number {
  const tokens = sequences * length;
  const { hiddenSize, intermediateSize, heads, kvHeads, headSize } = shape;
  // Residuals, norms and their outputs (6), projections with rotated copies (2 each), attention scores and weights.
  const attention = 2 * headSize * (heads + 2 * kvHeads) + 2 * heads * length;
  const perToken = 6 * hiddenSize + attention + 4 * intermediateSize; // [hidden…, scores, gate·up·silu·product]
  const head = logits ? LOGIT_COPIES * shape.vocabSize : 1;
  return (shape.layers * perToken + head) * tokens * FLOAT_BYTES;
}
