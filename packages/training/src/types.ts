/**
 * What a trainer is given, what it does, what it gives back. Data only: no graph, no engine, no thread.
 *
 * Per-token arrays lie beside `tokens`: index t belongs to tokens[t], whose log-probability is conditioned on tokens[< t].
 * Index 0 has no log-probability and is never trained.
 */
import type { OpenOrtOptions } from "@oarlock/ort";
import type { LlamaConfig } from "@oarlock/nn";
import type { Aggregation, ClipBounds, KlEstimator } from "@oarlock/rl";

/** One sequence of a batch: a prompt and what follows it. */
export interface TrainingRow {
  readonly tokens: Int32Array;
  /** Tokens before this index are the prompt. */
  readonly promptLength: number;
  /** 1 where the token is trained, 0 elsewhere (prompt, tool output). As long as `tokens`. */
  readonly lossMask: Uint8Array;
  /** Reinforcement learning only; as long as `tokens`, 0 where not trained. */
  readonly advantages?: Float32Array;
  /** Log-probs under the policy that the first update of this batch starts from. Absent: the trainer's own, exactly. */
  readonly oldLogprobs?: Float32Array;
  /** What the surrogate of each token is multiplied by; needed where the objective says so. */
  readonly importance?: Float32Array;
  /** Log-probs under the reference policy. Absent where an objective with a KL term needs them: the trainer computes them. */
  readonly refLogprobs?: Float32Array;
  /** Critics only; as long as `tokens`: what the value before each trained token should have been. */
  readonly returns?: Float32Array;
  /** Values under the critic that the first update of this batch starts from; needed where they are clipped. */
  readonly oldValues?: Float32Array;
  /** Reward models only; as long as `tokens`: by how much the score of a preferred row should lead, at its trained token. */
  readonly margins?: Float32Array;
  /** Process reward models only; as long as `tokens`: whether the step that the trained token follows is right, 0 to 1. */
  readonly labels?: Float32Array;
  /** Which prompt's group the row belongs to, for `token-mean-group`. Default: one of its own. */
  readonly group?: number;
}

/**
 * How the loss is made of tokens; part of the graph. The first two need a model that gives logits, the others one that gives
 * scores.
 */
export type Objective =
  | { readonly type: "sft" }
  | {
      readonly type: "grpo";
      /** Ratio is clipped to [1 − low, 1 + high]; `dual` bounds the loss of negative advantages (0 or absent: off). */
      readonly clip: ClipBounds;
      /** Weight of the KL penalty inside the loss; 0 leaves it out. */
      readonly klCoefficient: number;
      readonly klEstimator: KlEstimator;
      readonly entropyCoefficient: number;
      /** Whether the rows carry `importance`: their samples are of another policy than `oldLogprobs`. Default false. */
      readonly importance?: boolean;
      /** A value head on the policy's trunk: its loss, as that of "value", times `coefficient` is part of this one. */
      readonly value?: { readonly clip: number; readonly coefficient: number };
    }
  /**
   * A critic: regression of `returns`; values move at most `clip` away from `oldValues` (0: no bound). `headOnly`: of a value
   * head on the policy's trunk, which is trained alone; all else, its moments and its count of updates stay as they are.
   */
  | { readonly type: "value"; readonly clip: number; readonly headOnly?: boolean }
  /** A reward model: rows 2i and 2i + 1 are a pair, the preferred one first. `centering` is the weight of (R_w + R_l)². */
  | { readonly type: "pairs"; readonly centering: number }
  /** A reward model: `answers` rows in a row are a ranking, the best first. */
  | {
      readonly type: "ranking";
      readonly loss: "plackett-luce" | "all-pairs";
      readonly answers: number;
    }
  /** A process reward model: each trained token follows the end of a step, and its score says whether the step is right (`labels`). */
  | { readonly type: "steps" };

/** AdamW with decoupled weight decay (Loshchilov & Hutter 2019) after clipping by global norm. */
export interface OptimizerSettings {
  readonly learningRate: number;
  /** Default 0.9. */
  readonly beta1?: number;
  /** Default 0.999. */
  readonly beta2?: number;
  /** Default 1e-8. */
  readonly epsilon?: number;
  /** Applied to parameters whose layout says `decay`. Default 0. */
  readonly weightDecay?: number;
  /** Default: no clipping. */
  readonly maxGradNorm?: number;
}

/** Everything of a step that is not data. All of it changes bits and comes from the plan (D1). */
export interface StepOptions {
  readonly objective: Objective;
  /** How tokens are averaged, over the whole mini-batch. */
  readonly aggregation: Aggregation;
  /** The constant of `dr-grpo`: trained tokens of a row at most. */
  readonly maxLength?: number;
  readonly optimizer: OptimizerSettings;
  /** Rows per run of the gradient graph. Changes rounding only. */
  readonly microBatchSize: number;
  /** Logits are divided by this before the softmax. Default 1. */
  readonly temperature?: number;
  /** Passes over the batch. Default 1. */
  readonly epochs?: number;
  /** Rows per update, taken in order. Default: all rows. */
  readonly miniBatchSize?: number;
  /** The order of the rows in each pass, a permutation for each. Default: as given. */
  readonly order?: readonly Int32Array[];
  /** Supervised rows in every update: its loss grows by `coefficient` times the mean of their −log p (PPO-ptx). */
  readonly mix?: { readonly rows: readonly TrainingRow[]; readonly coefficient: number };
  /** No update is made once the policy is further than this from that before the step (k1, nats a token). Default: never. */
  readonly maxKl?: number;
}

/**
 * What the loss is made of. `loss`, `policyLoss` and `refKl` are aggregated as the loss is; the others are means over the
 * trained tokens with the loss's weights (plain token means under `token-mean-global`).
 */
export interface StepSums {
  readonly loss: number;
  /** −log p of the trained tokens, nats. */
  readonly nll: number;
  /** The policy-gradient part of the loss. */
  readonly policyLoss: number;
  /** k1 between the policy before the step and now: old − new. */
  readonly oldKl: number;
  /** The estimate against the reference policy, before its coefficient. */
  readonly refKl: number;
  /** Of the distribution at each trained token, nats. */
  readonly entropy: number;
  /** Fraction of tokens whose clipped term was the smaller one. */
  readonly clipFraction: number;
  /** Fraction of tokens that the dual clip cut. */
  readonly clipFractionLower: number;
  /** Critics: the value of a trained token, and the fraction of tokens whose clipped error was the greater one. */
  readonly value: number;
  readonly valueClipFraction: number;
  /** Of a value head on the policy's trunk: its part of the loss, before its coefficient. */
  readonly valueLoss: number;
  /**
   * Reward models, means over pairs (of a ranking, over all of its pairs): whether the preferred row leads, by how much, and the
   * score of both. Over steps: whether the sign of the score is the label's, by how much, and the score.
   */
  readonly accuracy: number;
  readonly lead: number;
  readonly score: number;
  /** −log p of the rows that are mixed in, nats a token. */
  readonly mixedNll: number;
}

/** One optimizer update. */
export interface UpdateResult {
  readonly sums: StepSums;
  /** Global norm of the gradient before clipping. */
  readonly gradNorm: number;
  /** W3: false where the update was not finite; parameters and moments are then bit-identical to before. */
  readonly applied: boolean;
  /** Of the gradient graph over all micro-batches. */
  readonly gradSeconds: number;
  /** Of combining, clipping and the optimizer. */
  readonly applySeconds: number;
}

export interface StepResult {
  /** Means over the updates of this step; 0 where `maxKl` ended it before the first. */
  readonly sums: StepSums;
  readonly gradNorm: number;
  /** Whether every update of this step was applied: false where one was rejected. */
  readonly applied: boolean;
  readonly updates: readonly UpdateResult[];
  /** Whether `maxKl` ended the step early. */
  readonly stopped: boolean;
  /** Trained tokens, tokens of all rows, tokens computed with padding. */
  readonly tokens: { readonly trained: number; readonly total: number; readonly computed: number };
  readonly seconds: number;
  /** Optimizer updates applied so far, over the trainer's life. */
  readonly optimizerStep: number;
}

/** A copy of everything that an exact continuation needs (W1, T3). Flat arrays follow nn's parameter layout. */
export interface TrainerState {
  readonly weights: Float32Array;
  readonly firstMoments: Float32Array;
  readonly secondMoments: Float32Array;
  /** The reference policy's weights, where one was captured. */
  readonly reference?: Float32Array;
  /** Updates of all parameters. */
  readonly optimizerStep: number;
  /** Further updates, of the value head alone. Default 0. */
  readonly headStep?: number;
}

/** An array of the state, by its name there. */
export type StateArray = "weights" | "firstMoments" | "secondMoments" | "reference";

/** The state without its arrays. */
export interface StateFacts extends Pick<TrainerState, "optimizerStep" | "headStep"> {
  /** The arrays that there are, each of `elements` floats. */
  readonly arrays: readonly StateArray[];
  readonly elements: number;
}

/** A policy as others receive it: weights in shared memory, and the SHA-256 of their bytes. */
export interface PolicySnapshot {
  /** A copy over a SharedArrayBuffer: sent to other threads without another copy. */
  readonly weights: Float32Array;
  readonly digest: string;
}

/** Whether log-probs are those of the policy in training or of the captured reference. */
export type LogprobSource = "policy" | "reference";

/** `miniBatchSize` and `order` as those of the step that follows: its first update then finds the very same numbers. */
export interface ForwardOptions extends Pick<StepOptions, "microBatchSize" | "miniBatchSize"> {
  /** Of the first pass. */
  readonly order?: Int32Array;
  /** Trained tokens only, 0 elsewhere. Default false. */
  readonly trainedOnly?: boolean;
}

export interface LogprobOptions extends ForwardOptions {
  readonly temperature?: number;
}

/** Updates one model: a policy, a critic or a reward model. Calls are answered one after another. */
export interface Trainer extends AsyncDisposable {
  /** One global batch: `epochs` × mini-batches updates, each of one or more micro-batches. */
  step(rows: readonly TrainingRow[], options: StepOptions, signal?: AbortSignal): Promise<StepResult>;
  /** Log-prob of every token given those before it (index 0 is 0). */
  logprobs(
    rows: readonly TrainingRow[],
    source: LogprobSource,
    options: LogprobOptions,
    signal?: AbortSignal,
  ): Promise<Float32Array[]>;
  /** Of a model with a score head: the score where each token would be predicted (index 0 is 0). */
  scores(
    rows: readonly TrainingRow[],
    options: ForwardOptions,
    signal?: AbortSignal,
  ): Promise<Float32Array[]>;
  /** The reference policy becomes a copy of the present weights. */
  captureReference(): Promise<void>;
  /** W1: a copy that no later step writes, and its digest, made off the caller's thread. */
  policy(): Promise<PolicySnapshot>;
  /** Other weights, with the moments and the reference as they are. */
  load(weights: Float32Array): Promise<void>;
  /** What `restore` needs, without its arrays. */
  stateFacts(): Promise<StateFacts>;
  /** Copies an array of the state into the caller's shared memory: the arrays of a large model need not be there together. */
  copyState(array: StateArray, into: Float32Array): Promise<void>;
  restore(state: TrainerState): Promise<void>;
  /** Clears the moments and the count of updates: a new stage starts. */
  resetOptimizer(): Promise<void>;
  close(): Promise<void>;
}

export interface TrainerOptions {
  readonly config: LlamaConfig;
  /** Initial weights, flat in nn's parameter layout; copied. */
  readonly weights: Float32Array;
  /** Engine: provider, driver, threads (D1: from the plan). */
  readonly ort?: OpenOrtOptions;
  /**
   * Micro-batches under way at once, each on a gradient array of its own, added up in order (D1: a value of the plan). With
   * several, give `ort.threads` 1: lanes × threads cores are used. Default 1.
   */
  readonly lanes?: number;
}
