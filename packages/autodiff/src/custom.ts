/**
 * Hand-written gradients for groups of nodes: where a formula for the whole is cheaper than the chain of its parts
 * (the log-probability of one token out of a vocabulary). The parts keep their own rules for everyone else.
 */
import type { Graph, Value } from "@oarlock/onnx";

export interface CustomGradient {
  /** What the group makes. Everything between inputs and outputs is skipped on the way back. */
  readonly outputs: readonly Value[];
  /** What the outputs are differentiated with respect to. All of it exists before the first output. */
  readonly inputs: readonly Value[];
  /**
   * From the gradients of the outputs (full shape; undefined where the loss does not depend on one) the gradient of
   * each input, made only where it is wanted.
   */
  readonly derive: (upstream: readonly (Value | undefined)[]) => readonly (() => Value)[];
}

const registered = new WeakMap<Graph, CustomGradient[]>();

/** From now on, `gradients` passes from `outputs` to `inputs` by `derive`. */
export function defineGradient(graph: Graph, gradient: CustomGradient): void {
  const known = registered.get(graph);
  if (known) known.push(gradient);
  else registered.set(graph, [gradient]);
}

export function customGradients(graph: Graph): readonly CustomGradient[] {
  return registered.get(graph) ?? [];
}
