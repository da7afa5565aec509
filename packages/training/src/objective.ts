/**
 * The loss of each objective as nodes of the gradient graph, over the M trained tokens of a micro-batch. The formulas are
 * rl's; here they meet the model's outputs.
 *
 * `weight` [M] carries mask ÷ global denominator, so a micro-batch adds its share and the split changes nothing.
 */
import { defineGradient } from "@oarlock/autodiff";
import { type Graph, identity, type Value } from "@oarlock/onnx";
import { grpoLoss, sftLoss } from "@oarlock/rl";
import type { Objective, StepSums } from "./types.ts";

export interface LossInputs {
  readonly graph: Graph;
  readonly logprobs: Value; // [M]
  readonly entropy: Value; // [M]
  readonly weight: Value; // [M]
}

/** Scalars that add up over micro-batches; a sum that an objective does not have is 0. */
export type LossSums = { readonly loss: Value } & { readonly [N in keyof StepSums]?: Value };

/** Where the log-probs of the policy before the update come from: fed, or this very forward pass (ratio exactly 1). */
export type OldLogprobs = "fed" | "own";

export type TokenInput = "advantages" | "oldLogprobs" | "refLogprobs";

/** Names of the per-token inputs that an objective adds. */
export function objectiveInputs(objective: Objective, old: OldLogprobs): readonly TokenInput[] {
  if (objective.type === "sft") return [];
  const names: TokenInput[] = ["advantages"];
  if (old === "fed") names.push("oldLogprobs");
  if (objective.klCoefficient !== 0) names.push("refLogprobs");
  return names;
}

/** `value`, through which no gradient flows back. */
function stopGradient(value: Value): Value {
  const stopped = identity(value);
  defineGradient(value.graph, { outputs: [stopped], inputs: [], derive: () => [] });
  return stopped;
}

/** Adds the objective's inputs and its loss. */
export function buildLoss(inputs: LossInputs, objective: Objective, old: OldLogprobs): LossSums {
  const { graph, logprobs, entropy, weight } = inputs;
  const nll = sftLoss({ logprobs, weight });
  if (objective.type === "sft") return { loss: nll, nll };
  const perToken = (name: TokenInput): Value => graph.input(name, "float32", logprobs.shape);
  const needed = objectiveInputs(objective, old);
  const tokens = {
    logprobs,
    entropy,
    weight,
    advantages: perToken("advantages"),
    oldLogprobs: old === "fed" ? perToken("oldLogprobs") : stopGradient(logprobs),
    ...(needed.includes("refLogprobs") ? { refLogprobs: perToken("refLogprobs") } : {}),
  };
  const { loss, sums } = grpoLoss(tokens, objective);
  return { nll, ...sums, loss };
}
