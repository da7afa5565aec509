/** The trainer's graphs as ONNX models: log-probs alone, and loss with gradients. Knows no engine and no buffer. */
import { gradients } from "@oarlock/autodiff";
import { type LlamaConfig, type LlamaTraining, llamaTraining, parameterLayout } from "@oarlock/nn";
import { add, createGraph, type Graph, serializeModel } from "@oarlock/onnx";
import { buildLoss, type OldLogprobs } from "./objective.ts";
import type { Objective } from "./types.ts";

export interface ForwardSpec {
  readonly config: LlamaConfig;
  /** T, tokens read of each row. */
  readonly length: number;
  readonly temperature: number;
  /** Whether an input `chosen` says which tokens go through the head; else all do, padding included. */
  readonly chosen: boolean;
}

export interface GradientSpec extends ForwardSpec {
  readonly objective: Objective;
  readonly old: OldLogprobs;
  /** Whether the gradients are added to those already there; else they replace them. */
  readonly accumulate: boolean;
}

/** Name of the output that holds the gradient of a view; its input twin, when accumulating, has the same tensor. */
export const gradientName = (view: string): string => `gradient.${view}`;
export const accumulatorName = (view: string): string => `accumulated.${view}`;
export const sumName = (name: string): string => `sum.${name}`;

function forward(graph: Graph, { config, length, temperature, chosen }: ForwardSpec): LlamaTraining {
  return llamaTraining(graph, {
    config,
    batch: "rows",
    length,
    temperature,
    ...(chosen ? { chosen: "trained" } : {}),
  });
}

/** Inputs as `llamaTraining`; output: logprobs [M]. */
export function logprobModel(spec: ForwardSpec): Uint8Array {
  const graph = createGraph("logprobs");
  const { logprobs } = forward(graph, spec);
  graph.output("logprobs", logprobs);
  return serializeModel(graph);
}

/**
 * Inputs as `llamaTraining`, weight [M], those of the objective, and the accumulators.
 * Outputs: the gradient of every view, and the objective's sums. A gradient may be bound over its accumulator: nothing
 * else reads that.
 */
export function gradientModel(spec: GradientSpec): Uint8Array {
  const graph = createGraph("gradients");
  const { config, objective, old, accumulate } = spec;
  const training = forward(graph, spec);
  const { logprobs, entropy } = training;
  const weight = graph.input("weight", "float32", logprobs.shape);
  const sums = buildLoss({ graph, logprobs, entropy, weight }, objective, old);
  const { views } = parameterLayout(config);
  const found = gradients(
    sums.loss,
    views.map(({ name }) => training.weights(name)),
  );
  for (const [i, { name, shape }] of views.entries()) {
    const gradient = found[i];
    if (gradient === undefined) continue; // one for each view
    const total = accumulate ? add(graph.input(accumulatorName(name), "float32", shape), gradient) : gradient;
    graph.output(gradientName(name), total);
  }
  for (const [name, value] of Object.entries(sums)) graph.output(sumName(name), value);
  return serializeModel(graph);
}
