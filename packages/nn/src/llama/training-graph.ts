/**
 * The forward pass of training: whole rows in, the log-probability and entropy of chosen tokens out. A loss is built on
 * top, and `gradients` of it with respect to the weights finishes the graph.
 *
 * Rows are padded at the right: under the causal mask no token sees the padding behind it, and padded tokens are simply
 * not chosen.
 */
import { type Dim, gather, type Graph, product, reshape, type Shape, sum, type Value } from "@oarlock/onnx";
import type { LlamaConfig } from "../config.ts";
import { causalAttention } from "./causal-attention.ts";
import { llamaScores } from "./scores.ts";
import { llamaLogits, llamaStack } from "./stack.ts";
import { tokenLogprobs } from "./token-logprobs.ts";
import { declareWeights, type WeightLookup, type WeightRole } from "./weights.ts";

export interface LlamaTrainingOptions {
  readonly config: LlamaConfig;
  /** B, rows. This, `length` and `prefix` may have names: the graph is then the same for all sizes. */
  readonly batch: Dim;
  /** T, tokens of a row. */
  readonly length: Dim;
  /**
   * P, tokens that every row begins with (the prompt of a group), computed once. They come first, once, and `length` counts
   * those after them. Default 0: none.
   */
  readonly prefix?: Dim;
  /**
   * How many tokens go through the head. Left out: all, in row order, and the graph has no input `chosen`. A name: the
   * input `chosen` says which.
   */
  readonly chosen?: string;
  /** Logits are divided by it: the temperature that was sampled with. Default 1. */
  readonly temperature?: number;
  /** Default "input". */
  readonly weightRole?: WeightRole;
}

export interface LlamaTraining {
  readonly weights: WeightLookup;
  /** log p(target) of each chosen token. [M] */
  readonly logprobs: Value;
  /** The entropy of the distribution it was taken from, in nats. [M] */
  readonly entropy: Value;
  /** [M, V] */
  readonly logits: Value;
}

/** The forward pass of a model with a score head. */
export interface LlamaScoring {
  readonly weights: WeightLookup;
  /** The score at each chosen token. [M] */
  readonly scores: Value;
}

/**
 * Adds to `graph` the inputs
 * - `ids` int64 [batch, length]: the tokens read; with a prefix [prefix + batch · length], the prefix first and the rows behind it;
 * - `positions` int64 [batch, length]: 0, 1, 2, … in each row; with a prefix P, P + 1, …, and `prefixPositions` int64 [1, prefix];
 * - `chosen` int64 [M], if asked for: where the token to predict from lies among all of them, row by row;
 * - `targets` int64 [M]: the token to predict from each (without `chosen`, M = batch · length);
 * - the weights, by the names of the layout's views;
 * - where sizes have names, some of them as vectors (`sizeInputs`), and where `length` or `prefix` has one `cos` and `sin`, the
 *   `rotaryTables` of as many positions as rows have at least;
 *
 * and the forward pass.
 */
export function llamaTraining(graph: Graph, options: LlamaTrainingOptions): LlamaTraining {
  const { config, temperature = 1 } = options;
  const { weights, stream } = trunk(graph, options);
  const targets = graph.input("targets", "int64", [options.chosen ?? product(tokenShape(options))]);
  const logits = llamaLogits({ config, weights, stream, temperature });
  return { weights, logits, ...tokenLogprobs(logits, targets) };
}

/** As `llamaTraining` without `targets`, for a configuration whose head is "score". */
export function llamaScoring(graph: Graph, options: Omit<LlamaTrainingOptions, "temperature">): LlamaScoring {
  const { weights, stream } = trunk(graph, options);
  return { weights, scores: llamaScores({ config: options.config, weights, stream }) };
}

/** Both of them on one trunk, for a configuration whose head is "both". */
export function llamaActorCritic(
  graph: Graph,
  options: LlamaTrainingOptions,
): LlamaTraining & Pick<LlamaScoring, "scores"> {
  const { config, temperature = 1 } = options;
  const { weights, stream } = trunk(graph, options);
  const targets = graph.input("targets", "int64", [options.chosen ?? product(tokenShape(options))]);
  const logits = llamaLogits({ config, weights, stream, temperature });
  const scores = llamaScores({ config, weights, stream });
  return { weights, logits, scores, ...tokenLogprobs(logits, targets) };
}

/** Everything below the head: the residual stream of the chosen tokens. [M, D] */
function trunk(graph: Graph, options: LlamaTrainingOptions): { weights: WeightLookup; stream: Value } {
  const { config, batch, length, prefix = 0 } = options;
  const ids = graph.input("ids", "int64", tokenShape(options));
  const positions = graph.input("positions", "int64", [batch, length]);
  const prefixPositions = prefix === 0 ? undefined : graph.input("prefixPositions", "int64", [1, prefix]);
  const chosen = options.chosen === undefined ? undefined : graph.input("chosen", "int64", [options.chosen]);
  const weights = declareWeights(graph, config, options.weightRole);
  const attention = causalAttention(graph, {
    config,
    positions,
    ...(prefixPositions ? { prefixPositions } : {}),
  });
  const all = llamaStack({ config, weights, ids: reshape(ids, [-1]), attention }); // [P + B·T, D]
  return { weights, stream: chosen ? gather(all, chosen, 0) : all };
}

/** Of `ids`. */
function tokenShape({ batch, length, prefix = 0 }: LlamaTrainingOptions): Shape {
  return prefix === 0 ? [batch, length] : [sum([prefix, product([batch, length])])];
}
