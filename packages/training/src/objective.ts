/**
 * The loss of each objective as nodes of the gradient graph, over the M trained tokens of a micro-batch. The formulas are
 * rl's; here they meet the model's outputs.
 *
 * `weight` [M] carries mask ÷ global denominator, so a micro-batch adds its share and the split changes nothing.
 */
import { defineGradient } from "@oarlock/autodiff";
import { OarlockError } from "@oarlock/errors";
import type { LlamaConfig, LlamaHead } from "@oarlock/nn";
import {
  add,
  type Graph,
  identity,
  mul,
  reduceSum,
  reshape,
  split,
  squeeze,
  type Value,
} from "@oarlock/onnx";
import { criticLoss, grpoLoss, pairLoss, rankingLoss, sftLoss, stepLossGraph } from "@oarlock/rl";
import type { Objective, StepSums } from "./types.ts";

/** What the model gives for each chosen token. */
export type TokenOutputs =
  | { readonly head: "logits"; readonly logprobs: Value; readonly entropy: Value } // [M]
  | { readonly head: "score"; readonly scores: Value } // [M]
  | { readonly head: "both"; readonly logprobs: Value; readonly entropy: Value; readonly scores: Value }; // [M]

export interface LossInputs {
  readonly graph: Graph;
  readonly outputs: TokenOutputs;
  readonly weight: Value; // [M]
}

/** Scalars that add up over micro-batches; a sum that an objective does not have is 0. */
export type LossSums = { readonly loss: Value } & { readonly [N in keyof StepSums]?: Value };

/** Where the log-probs of the policy before the update come from: fed, or this very forward pass (ratio exactly 1). */
export type OldLogprobs = "fed" | "own";

export type TokenInput =
  | "advantages"
  | "oldLogprobs"
  | "importance"
  | "refLogprobs"
  | "returns"
  | "oldValues"
  | "margins"
  | "labels";

const heads: { readonly [T in Objective["type"]]: LlamaHead } = {
  sft: "logits",
  grpo: "logits",
  value: "score",
  pairs: "score",
  ranking: "score",
  steps: "score",
};

/** Rows that stay together in one micro-batch: those of a pair or a ranking. */
export function rowsTogether(objective: Objective): number {
  if (objective.type === "pairs") return 2;
  return objective.type === "ranking" ? objective.answers : 1;
}

/** Whether the value head of a policy is trained alone. */
export const trainsHeadOnly = (objective: Objective): boolean =>
  objective.type === "value" && objective.headOnly === true;

/** Throws `TRAINING_OPTION` where the model's head is not the one that the objective is about. */
export function checkHead(objective: Objective, { head = "logits" }: LlamaConfig): void {
  const both = (objective.type === "grpo" && objective.value !== undefined) || trainsHeadOnly(objective);
  const needed = both ? "both" : heads[objective.type];
  if (head === needed || (head === "both" && needed === "logits")) return;
  throw new OarlockError(
    "TRAINING_OPTION",
    `objective.type is ${objective.type}; it needs a model that gives ${needed}, and this one gives ${head}`,
  );
}

/** Name of the scalar input of an objective with a KL term. */
export const KL_COEFFICIENT = "klCoefficient";

/** Names of the per-token inputs that an objective adds. */
export function objectiveInputs(objective: Objective, old: OldLogprobs): readonly TokenInput[] {
  if (objective.type === "sft" || objective.type === "ranking") return [];
  if (objective.type === "pairs") return ["margins"];
  if (objective.type === "steps") return ["labels"];
  if (objective.type === "value") return objective.clip > 0 ? ["returns", "oldValues"] : ["returns"];
  return policyInputs(objective, old);
}

function policyInputs(
  { importance = false, klCoefficient, value }: Extract<Objective, { type: "grpo" }>,
  old: OldLogprobs,
): readonly TokenInput[] {
  const names: TokenInput[] = ["advantages"];
  if (old === "fed") names.push("oldLogprobs");
  if (importance) names.push("importance");
  if (klCoefficient !== 0) names.push("refLogprobs");
  if (value !== undefined) names.push("returns");
  if (value !== undefined && value.clip > 0) names.push("oldValues");
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
  const { graph, outputs, weight } = inputs;
  const perToken = (name: TokenInput): Value => graph.input(name, "float32", weight.shape);
  if (outputs.head === "score") return scoreLoss({ scores: outputs.scores, weight, perToken }, objective);
  const { logprobs, entropy } = outputs;
  const nll = sftLoss({ logprobs, weight });
  if (objective.type !== "grpo") return { loss: nll, nll };
  const needed = objectiveInputs(objective, old);
  const tokens = {
    logprobs,
    entropy,
    weight,
    advantages: perToken("advantages"),
    oldLogprobs: old === "fed" ? perToken("oldLogprobs") : stopGradient(logprobs),
    ...(needed.includes("importance") ? { importance: perToken("importance") } : {}),
    ...(needed.includes("refLogprobs") ? { refLogprobs: perToken("refLogprobs") } : {}),
  };
  // Fed, so that a controller may move it without a graph of its own for every value.
  const klCoefficient = objective.klCoefficient === 0 ? 0 : graph.input(KL_COEFFICIENT, "float32", []);
  const { loss, sums } = grpoLoss(tokens, { ...objective, klCoefficient });
  if (outputs.head !== "both" || objective.value === undefined) return { nll, ...sums, loss };
  const { clip, coefficient } = objective.value;
  const value = scoreLoss({ scores: outputs.scores, weight, perToken }, { type: "value", clip });
  return { ...value, nll, ...sums, valueLoss: value.loss, loss: add(loss, mul(value.loss, coefficient)) };
}

interface ScoreInputs {
  readonly scores: Value; // [M]
  readonly weight: Value; // [M]
  readonly perToken: (name: TokenInput) => Value;
}

function scoreLoss({ scores, weight, perToken }: ScoreInputs, objective: Objective): LossSums {
  if (objective.type === "value") {
    const returns = perToken("returns");
    const oldValues = objective.clip > 0 ? perToken("oldValues") : returns;
    const { loss, sums } = criticLoss({ values: scores, oldValues, returns, weight }, objective.clip);
    return { ...sums, loss };
  }
  if (objective.type === "ranking") return rankingSums(scores, weight, objective);
  if (objective.type === "steps") {
    const { loss, sums } = stepLossGraph({ scores, labels: perToken("labels"), weight });
    return { ...sums, loss };
  }
  const [preferred, rejected] = columns(scores);
  const [margin] = columns(perToken("margins"));
  const pairs = { preferred, rejected, margin, weight: add(...columns(weight)) };
  const { loss, sums } = pairLoss(pairs, objective.type === "pairs" ? objective.centering : 0);
  return { ...sums, loss };
}

/** Rows come in rankings: [M] → [M / K, K]. Each row carries its share of what its ranking weighs. */
function rankingSums(
  scores: Value,
  weight: Value,
  { loss, answers }: Extract<Objective, { type: "ranking" }>,
): LossSums {
  const ranked = reshape(scores, [-1, answers]);
  const weights = reduceSum(reshape(weight, [-1, answers]), { axes: [1], keepdims: false }); // [M / K]
  const { loss: total, sums } = rankingLoss(ranked, weights, loss);
  return { ...sums, loss: total };
}

/** Rows come in pairs: [M] → two vectors [M / 2]. */
function columns(values: Value): [Value, Value] {
  const [first = values, second = values] = split(reshape(values, [-1, 2]), [1, 1], 1);
  return [squeeze(first, [1]), squeeze(second, [1])];
}
