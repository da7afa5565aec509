/** The trainer's graphs as ONNX models: log-probs or scores alone, and loss with gradients. Knows no engine and no buffer. */
import { gradients } from "@oarlock/autodiff";
import {
  llamaActorCritic,
  type LlamaConfig,
  llamaScoring,
  llamaTraining,
  parameterLayout,
  type WeightLookup,
} from "@oarlock/nn";
import {
  createGraph,
  type Graph,
  type OpName,
  serializeModel,
  type SizeInput,
  sizeInputs,
} from "@oarlock/onnx";
import { buildLoss, rowsTogether, type OldLogprobs, type TokenOutputs, trainsHeadOnly } from "./objective.ts";
import type { Objective } from "./types.ts";

export interface ForwardSpec {
  readonly config: LlamaConfig;
  /** Whether rows begin with tokens in common. */
  readonly prefixed: boolean;
  readonly temperature: number;
  /** Whether an input `chosen` says which tokens go through the head; else all do, padding included. */
  readonly chosen: boolean;
  /** Of a model that gives both: which of them. Default: log-probs of a forward pass, both of a gradient. */
  readonly output?: "logprobs" | "scores";
}

export interface GradientSpec extends ForwardSpec {
  readonly objective: Objective;
  readonly old: OldLogprobs;
}

/** Name of the output that holds the gradient of a view; its input twin, what it is added to, has the same tensor. */
export const gradientName = (view: string): string => `gradient.${view}`;
export const accumulatorName = (view: string): string => `accumulated.${view}`;
export const sumName = (name: string): string => `sum.${name}`;

interface Forward {
  readonly outputs: TokenOutputs;
  readonly weights: WeightLookup;
}

/** A graph of the trainer, for any number of rows of any length. */
export interface TrainingModel {
  readonly bytes: Uint8Array;
  /** Inputs that say how large named sizes are; the names are those of `ModelSizes`. */
  readonly sizes: readonly SizeInput[];
}

/** B, T and P of `LlamaTrainingOptions`. */
export interface ModelSizes extends Record<string, number> {
  readonly rows: number;
  readonly tokens: number;
  readonly prefix: number;
}

const modelOf = (graph: Graph): TrainingModel => ({ bytes: serializeModel(graph), sizes: sizeInputs(graph) });

/** `trained` names the number of chosen tokens. */
function forward(
  graph: Graph,
  { config, prefixed, temperature, chosen, output }: ForwardSpec,
  trained = "trained",
): Forward {
  const names = { batch: "rows", length: "tokens", ...(prefixed ? { prefix: "prefix" } : {}) };
  const options = { config, ...names, ...(chosen ? { chosen: trained } : {}) };
  if (config.head === "score" || output === "scores") {
    const { scores, weights } = llamaScoring(graph, options);
    return { outputs: { head: "score", scores }, weights };
  }
  if (config.head === "both") {
    const { logprobs, entropy, scores, weights } = llamaActorCritic(graph, { ...options, temperature });
    return { outputs: { head: "both", logprobs, entropy, scores }, weights };
  }
  const { logprobs, entropy, weights } = llamaTraining(graph, { ...options, temperature });
  return { outputs: { head: "logits", logprobs, entropy }, weights };
}

/** Name of the output of `forwardModel`. */
export const FORWARD_OUTPUT = "tokens";

const ofTokens = (outputs: TokenOutputs) => (outputs.head === "score" ? outputs.scores : outputs.logprobs);

/** Inputs as `llamaTraining` or `llamaScoring`; output: the log-prob or the score of each chosen token [M]. */
export function forwardModel(spec: ForwardSpec, without: readonly OpName[] = []): TrainingModel {
  const graph = createGraph("forward", without);
  graph.output(FORWARD_OUTPUT, ofTokens(forward(graph, spec).outputs));
  return modelOf(graph);
}

/**
 * Inputs as `forwardModel`, weight [M], those of the objective, and the accumulators.
 * Outputs: the gradient of every view that is trained, and the objective's sums. A gradient may be bound over its accumulator: nothing
 * else reads that.
 */
export function gradientModel(spec: GradientSpec, without: readonly OpName[] = []): TrainingModel {
  const graph = createGraph("gradients", without);
  const { config, objective, old } = spec;
  // Of pairs and rankings the graph knows how many rows there are of each.
  const together = rowsTogether(objective);
  const { outputs, weights } = forward(graph, spec, together > 1 ? `${together}*rankings` : "trained");
  const weight = graph.input("weight", "float32", ofTokens(outputs).shape);
  const sums = buildLoss({ graph, outputs, weight }, objective, old);
  const { views: all } = parameterLayout(config);
  const views = trainsHeadOnly(objective) ? all.filter(({ name }) => name === "score") : all;
  const found = gradients(
    sums.loss,
    views.map(({ name }) => weights(name)),
    views.map(({ name, shape }) => graph.input(accumulatorName(name), "float32", shape)),
  );
  for (const [i, { name }] of views.entries()) {
    const gradient = found[i];
    if (gradient !== undefined) graph.output(gradientName(name), gradient); // one for each view
  }
  for (const [name, value] of Object.entries(sums)) graph.output(sumName(name), value);
  return modelOf(graph);
}
