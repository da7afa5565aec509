/**
 * Peak memory of a run, by part, in bytes: counted from shapes, before anything is allocated.
 *
 * Weights, gradients and moments are exact; activations count the tensors that the backward pass keeps. Knows no
 * engine. An upper bound: the test of the plan holds it against peaks that were measured.
 */
import type { ModelShape, ResolvedSpec, ResolvedStage, RunInputs } from "../resolved.ts";
import { laggingVersions } from "../pipeline.ts";
import { canonicalJson } from "./digest.ts";
import type { ComputedBy } from "../vocabulary.ts";
import {
  longestGenerated,
  modelsOf,
  referenceBy,
  rolloutsOf,
  scorerShape,
  valuesBy,
} from "../stage-parts.ts";
import { parameterCount } from "./shape.ts";

const FLOAT_BYTES = 4;
/** Node and its threads with what their heaps grow to, the engine's library and code, whatever the model. */
const RUNTIME_BYTES = 900 * 1024 * 1024;
/** Graphs whose scratch memory a trainer of a small model keeps, each as much as a pass needed at most: with a prefix, and without. */
const KEPT_GRAPHS = 2;
/** Models from this size on give it back after each pass: packages/training's own number, held to it by a test. */
export const LARGE_PARAMETERS = 20e6;
/** Copies of the logits alive at once: logits, log-softmax, and their gradient. */
const LOGIT_COPIES = 3;

/** Versions of the policy that an actor holds: two, and the one that it fetches. */
const ACTOR_VERSIONS = 3;
/** Dead shared memory that waits for a collection, at most: packages/runtime's own number, held to it by a test. */
export const DEAD_BYTES: number = 256 * 1024 * 1024;
/** So many versions' worth of it. */
const DEAD_VERSIONS = 100;
/** Snapshots of a learner that nobody samples for: the policy, the one after the next step, and the one before, not collected yet. */
const UNSAMPLED_VERSIONS = 3;

/** Bytes by what they hold; `total` is their sum. */
export interface MemoryEstimate {
  readonly runtime: number;
  /** Weights of the trainer, its gradients and both moments. */
  readonly trainer: number;
  /** The frozen reference policy of a stage with KL: the learner's, and those of the actors with what their passes keep. */
  readonly reference: number;
  /**
   * Weights, gradients and moments of a critic or a reward model in training, and reward models that score; where actors compute
   * values, their critics.
   */
  readonly scorers: number;
  /** Snapshots of the weights: the learner's, the bus's and the actors', and dead ones that were not collected yet. */
  readonly snapshots: number;
  /** What a checkpoint copies at a time: one array of the policy's trainer, and one of another. */
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
export function estimateMemory(
  spec: ResolvedSpec,
  inputs: Pick<RunInputs, "model" | "scorers">,
): MemoryEstimate {
  const { shape } = inputs.model;
  const weights = parameterCount(shape) * FLOAT_BYTES;
  const generates =
    spec.evaluation !== undefined || spec.stages.some((stage) => rolloutsOf(stage) !== undefined);
  const lanes = spec.compute.trainingThreads;
  const parts = {
    runtime: RUNTIME_BYTES,
    // Each lane has gradients of its own.
    trainer: (3 + lanes) * weights,
    reference: referenceBytes(spec, shape),
    scorers:
      // One trainer beside the policy's at a time: weights, gradients, moments.
      (trainsAnother(spec) ? 4 : 0) * weights +
      scoringBytes(spec, inputs) +
      Math.max(...spec.stages.map((stage) => criticBytes(spec, shape, stage))),
    snapshots:
      (generates ? snapshotVersions(spec) : UNSAMPLED_VERSIONS) * weights +
      Math.min(DEAD_BYTES, DEAD_VERSIONS * weights),
    checkpoint: (trainsAnother(spec) ? 2 : 1) * weights,
    samplers: generates ? spec.compute.actors * samplerBytes(spec, weights) : 0,
    cache: generates
      ? spec.compute.actors * cacheBytes(shape, spec.compute.slots, longestGenerated(spec))
      : 0,
    activations:
      lanes *
      keptGraphs(shape) *
      Math.max(
        0,
        ...spec.stages.map((stage) =>
          activationBytes(shape, { ...passOf(stage), logits: stage.type !== "reward-model" }),
        ),
      ),
  };
  return { ...parts, total: Object.values(parts).reduce((sum, part) => sum + part, 0) };
}

const keptGraphs = (shape: ModelShape): number =>
  parameterCount(shape) < LARGE_PARAMETERS ? KEPT_GRAPHS : 1;

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

/**
 * Of the stages whose reference the actors compute with: each holds the weights, and the scratch memory of a forward pass, which
 * needs one layer at a time; the learner and the bus keep the snapshot that actors fetch. Beside it the learner's own, of the
 * stages where it computes: nobody lets go of one at the end of a stage.
 */
function referenceBytes(spec: ResolvedSpec, shape: ModelShape): number {
  const weights = parameterCount(shape) * FLOAT_BYTES;
  const stagesBy = (by: ComputedBy): readonly ResolvedStage[] =>
    spec.stages.filter((stage) => referenceBy(stage) === by);
  const ofActors = stagesBy("actors").map((stage) => {
    const scratch = forwardBytes(shape, stage, LOGIT_COPIES * shape.vocabSize);
    return 2 * weights + spec.compute.actors * (weights + scratch);
  });
  return (stagesBy("learner").length > 0 ? weights : 0) + Math.max(0, ...ofActors);
}

/**
 * Of a stage whose values the actors compute: as the reference, a critic for each version of the policy that work in flight names,
 * and one on its way.
 */
function criticBytes(spec: ResolvedSpec, shape: ModelShape, stage: ResolvedStage): number {
  if (valuesBy(stage) !== "actors") return 0;
  const weights = parameterCount(shape) * FLOAT_BYTES;
  const held = laggingVersions(spec.pipeline) + 1;
  const ofActor = (held + 1) * weights + held * forwardBytes(shape, stage, 1);
  return 2 * (held + 1) * weights + spec.compute.actors * ofActor;
}

/** Scratch memory of a forward pass over what an actor has of a micro-batch; the head makes so many floats of a token. */
function forwardBytes(shape: ModelShape, stage: ResolvedStage, head: number): number {
  const { sequences, length } = passOf(stage);
  const tokens = Math.min(sequences, rolloutsOf(stage)?.groupSize ?? sequences) * length;
  return keptGraphs(shape) * (perTokenFloats(shape, length) + head) * tokens * FLOAT_BYTES;
}

/**
 * Versions at the worst moment: the learner and the bus hold what lag needs, the current one and the one being published; each
 * actor what it runs on, the one before, and the next.
 */
function snapshotVersions(spec: ResolvedSpec): number {
  const published = laggingVersions(spec.pipeline) + 2;
  // A guard that rolls back keeps the last good policy.
  const good = spec.stages.some((stage) =>
    rolloutsOf(stage)?.guards.some(({ reaction }) => reaction === "roll-back"),
  );
  return 2 * published + ACTOR_VERSIONS * spec.compute.actors + (good ? 1 : 0);
}

const trainsAnother = ({ stages }: ResolvedSpec): boolean =>
  stages.some(({ type }) => type === "reward-model" || type === "ppo");

/**
 * Reward models that score: those of every list of rewards, since none is closed when its stage ends. The bus holds another copy of
 * each. What the learner reads on the way there it lets go of before anything scores with it; a text's scratch memory is small beside
 * the weights.
 */
function scoringBytes(spec: ResolvedSpec, inputs: Pick<RunInputs, "model" | "scorers">): number {
  const lists = [
    ...spec.stages.map((stage) => rolloutsOf(stage)?.rewards ?? []),
    spec.evaluation?.rewards ?? [],
  ];
  // Equal lists share their scorers.
  const distinct = new Map(lists.map((rewards) => [canonicalJson(rewards), rewards]));
  const named = [...distinct.values()].flat().flatMap((reward) => modelsOf(reward).map(({ from }) => from));
  const weightsOf = (from: string): number => parameterCount(scorerShape(inputs, from)) * FLOAT_BYTES;
  return [...named, ...new Set(named)].reduce((sum, from) => sum + weightsOf(from), 0);
}

/** Each session packs the weights; as initializers, the engine holds a prepacked copy besides. */
function samplerBytes({ compute }: ResolvedSpec, weights: number): number {
  return (compute.generationLayout === "inputs" ? 1 : 2) * weights * compute.generationWorkers;
}

/** Keys and values: 2 × layers × kvHeads × headSize floats a token. */
function cacheBytes(shape: ModelShape, slots: number, length: number): number {
  return 2 * shape.layers * shape.kvHeads * shape.headSize * slots * length * FLOAT_BYTES;
}

/** What the backward pass of one micro-batch keeps. */
function activationBytes(
  shape: ModelShape,
  { sequences, length, logits }: { sequences: number; length: number; logits: boolean },
): number {
  const tokens = sequences * length;
  const head = logits ? LOGIT_COPIES * shape.vocabSize : 1;
  return (shape.layers * perTokenFloats(shape, length) + head) * tokens * FLOAT_BYTES;
}

/** What a layer makes of a token. */
function perTokenFloats(
  { hiddenSize, intermediateSize, heads, kvHeads, headSize }: ModelShape,
  length: number,
): number {
  // Residuals, norms and their outputs (6), projections with rotated copies (2 each), attention scores and weights.
  const attention = 2 * headSize * (heads + 2 * kvHeads) + 2 * heads * length;
  return 6 * hiddenSize + attention + 4 * intermediateSize; // [hidden…, scores, gate·up·silu·product]
}
