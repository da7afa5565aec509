/**
 * The resolved run: a run file with every default filled, plus the identity of everything it reads.
 *
 * This is the ONE input of the services (D1): everything that changes bits is a value here. It keeps the run file's
 * own shape, so `spec` can be read, compared and run again as a run file. Plain data: JSON-safe, no behaviour.
 */
import type { EnsembleReward, ResolvedModelReward, ScoreShaping, ServiceReward } from "./reward-services.ts";
import type {
  Advantage,
  Aggregation,
  ChatTemplateUse,
  CorrectionLevel,
  CriticType,
  DataFormat,
  Driver,
  GenerationLayout,
  GuardReaction,
  GuardType,
  ComputedBy,
  KlController,
  KlEstimator,
  KlPlacement,
  LengthUnit,
  LossMask,
  NumericExtraction,
  OptimizationLevel,
  RewardLoss,
  Precision,
  Provider,
  RopeConvention,
  Schedule,
  TaskName,
  TaskSplit,
  TrapCode,
  UntilScore,
} from "./vocabulary.ts";

/** A run with nothing left to decide. */
export interface ResolvedRun {
  readonly apiVersion: "oarlock.dev/v1alpha1";
  readonly kind: "ResolvedRun";
  readonly name: string;
  readonly spec: ResolvedSpec;
  readonly inputs: RunInputs;
  /** SHA-256 (hex) over all of `spec` and `inputs` that changes bits: not the number of actors, nor what is saved. */
  readonly digest: string;
}

/** Identities of what the run reads: they change bits although the run file only names them. */
export interface RunInputs {
  readonly model: ModelInput;
  /** One entry per `data` block, in the order of `dataPaths`. */
  readonly data: readonly DataInput[];
  /** One entry per reward of type `function`. */
  readonly functions: readonly FunctionInput[];
  /** One entry per reward model that is read and not trained; absent: none is. */
  readonly scorers?: readonly ScorerInput[];
  readonly engine: EngineInput;
}

export interface ModelInput {
  readonly shape: ModelShape;
  /** Trainable parameters. */
  readonly parameters: number;
  /** SHA-256 of the initial weights; "" for a new model, whose weights follow from spec and seed. */
  readonly digest: string;
  readonly tokenizerDigest: string;
  readonly chatTemplateDigest: string;
}

/** The dimensions of a Llama-family model; structurally the `LlamaConfig` of `@oarlock/nn`. */
export interface ModelShape {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly ropeTheta: number;
  readonly ropeConvention: RopeConvention;
  readonly rmsNormEps: number;
  readonly maxPositions: number;
  readonly tiedEmbeddings: boolean;
  readonly qkvBias: boolean;
  readonly qkNorm: boolean;
}

export interface DataInput {
  /** Path of the data block in the spec, e.g. `stages.0.sft.data`. */
  readonly path: string;
  /** SHA-256 of the rows as read. */
  readonly digest: string;
  readonly rows: number;
  /** Tokens of the longest prompt; 0 where it was not measured. */
  readonly longestPrompt: number;
}

export interface FunctionInput {
  /** Path of the reward in the spec, e.g. `stages.1.grpo.rewards.0`. */
  readonly path: string;
  /** SHA-256 of the bundled code. */
  readonly digest: string;
}

/** A reward model that another run, or another program, has trained. */
export interface ScorerInput {
  /** As rewards name it. */
  readonly from: string;
  readonly shape: ModelShape;
  /** SHA-256 of the weights. */
  readonly digest: string;
}

/** What computes: part of the fingerprint of every policy version (D1b). */
export interface EngineInput {
  /** Version of Oarlock. */
  readonly oarlock: string;
  /** Version of ONNX Runtime, e.g. "1.30.0"; "" before an engine was opened. */
  readonly onnxruntime: string;
  /** Architecture and instruction set, e.g. "x64-avx2". */
  readonly instructionSet: string;
}

export interface ResolvedSpec {
  readonly seed: number;
  readonly model: ResolvedModel;
  readonly pipeline: ResolvedPipeline;
  readonly compute: ResolvedCompute;
  readonly stages: readonly ResolvedStage[];
  /** Absent: the run does not evaluate. */
  readonly evaluation?: ResolvedEvaluation;
  readonly checkpoints: { readonly every: number; readonly keep: number };
  readonly output: { readonly samplesPerStep: number; readonly tensorboard: boolean };
  readonly allow: readonly TrapCode[];
}

export type ResolvedPipeline = ResolvedLockstep | ResolvedStreaming;

export interface ResolvedLockstep {
  readonly mode: "lockstep";
  /** η: batches generated ahead of training. */
  readonly lag: number;
}

export interface ResolvedStreaming {
  readonly mode: "streaming";
  /** η: versions that the oldest weights in a group may be behind those that train on it. */
  readonly maxStaleness: number;
  readonly correction: ResolvedCorrection;
}

export interface ResolvedCorrection {
  readonly level: CorrectionLevel;
  readonly minRatio: number;
  readonly maxRatio: number;
}

export type ResolvedModel = { readonly from: string } | { readonly init: ResolvedModelInit };

export interface ResolvedModelInit extends Omit<ModelShape, "vocabSize"> {
  readonly architecture: "llama";
  readonly tokenizer: ResolvedTokenizer;
}

export type ResolvedTokenizer =
  | { readonly type: "characters"; readonly characters: { readonly alphabet: string } }
  | { readonly type: "file"; readonly file: { readonly path: string } };

export interface ResolvedCompute {
  readonly provider: Provider;
  readonly driver: Driver;
  /** "" = the library that onnxruntime-node ships. */
  readonly libraryPath: string;
  readonly precision: Precision;
  readonly optimizationLevel: OptimizationLevel;
  readonly generationLayout: GenerationLayout;
  /** Intra-op threads of one sampling session. */
  readonly generationThreads: number;
  /** Worker threads of one actor, each with a session and its share of the slots; changes speed, never bits (D3). */
  readonly generationWorkers: number;
  /** Lanes of the trainer, of one thread each. They decide the order of additions, so they change bits (D1). */
  readonly trainingThreads: number;
  /** Actors of a local run; changes speed, never bits (D1). */
  readonly actors: number;
  readonly rewardWorkers: number;
  /** Sequences that one actor decodes at a time. */
  readonly slots: number;
}

export type ResolvedData =
  | { readonly type: "task"; readonly task: ResolvedTask }
  | { readonly type: "file"; readonly file: ResolvedFileData }
  | { readonly type: "hub"; readonly hub: ResolvedHubData };

export interface ResolvedTask {
  readonly name: TaskName;
  readonly split: TaskSplit;
  readonly digits: number;
  /** Rows at most; 0 = all. */
  readonly limit: number;
}

/** Column names; a missing one is found by TRL's and verl's conventions. */
export interface ResolvedFields {
  readonly prompt?: string;
  readonly completion?: string;
  readonly answer?: string;
  readonly messages?: string;
  readonly chosen?: string;
  readonly rejected?: string;
  readonly ranking?: string;
  readonly completions?: string;
  readonly labels?: string;
}

interface ResolvedTable {
  readonly fields: ResolvedFields;
  /** "" = none. */
  readonly systemPrompt: string;
  readonly chatTemplate: ChatTemplateUse;
  /** Rows at most; 0 = all. */
  readonly limit: number;
  /** Rows left out at the start. */
  readonly skip: number;
}

export interface ResolvedFileData extends ResolvedTable {
  /** As written; relative paths are relative to the run file. */
  readonly path: string;
  readonly format: DataFormat;
}

export interface ResolvedHubData extends ResolvedTable {
  /** `hf://datasets/org/name[@revision]`. */
  readonly dataset: string;
  /** "" = the data set's only one. */
  readonly config: string;
  readonly split: string;
}

export interface ResolvedOptimizer {
  readonly learningRate: number;
  readonly warmupSteps: number;
  readonly schedule: Schedule;
  /** Where a decaying schedule ends. */
  readonly minLearningRate: number;
  readonly weightDecay: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** 0 = no clipping. */
  readonly maxGradNorm: number;
}

export type ResolvedStage =
  | { readonly name: string; readonly type: "sft"; readonly sft: ResolvedSft }
  | { readonly name: string; readonly type: "reward-model"; readonly "reward-model": ResolvedRewardModel }
  | { readonly name: string; readonly type: "grpo"; readonly grpo: ResolvedGrpo }
  | { readonly name: string; readonly type: "ppo"; readonly ppo: ResolvedPpo };

/** `stage/<name>` for the result of an earlier stage, `model` for the run's own model. */
export interface ResolvedStart {
  readonly from: string;
}

export interface ResolvedSft {
  readonly model: ResolvedStart;
  readonly data: ResolvedData;
  /** Optimizer steps. */
  readonly steps: number;
  /** Sequences per step. */
  readonly batchSize: number;
  /** Sequences per gradient pass; divides `batchSize`. */
  readonly microBatchSize: number;
  /** Tokens per sequence at most; longer rows are left out. */
  readonly maxLength: number;
  readonly mask: LossMask;
  readonly until?: ResolvedUntil;
  readonly optimizer: ResolvedOptimizer;
}

/** What ends a stage before its last step: the first evaluation between two steps that gives at least so much. */
export interface ResolvedUntil {
  readonly score: UntilScore;
  readonly atLeast: number;
}

export interface ResolvedRewardModel {
  /** Whose trunk it starts from; a policy's head is replaced by one of zeros. */
  readonly model: ResolvedStart;
  /** Preference pairs, rankings, or answers with labelled steps. */
  readonly data: ResolvedData;
  readonly steps: number;
  /** Pairs (rankings, answers with labelled steps) per step. */
  readonly batchSize: number;
  /** Pairs per gradient pass; divides `batchSize`. */
  readonly microBatchSize: number;
  /** Tokens of prompt and answer at most; pairs with a longer side are left out. */
  readonly maxLength: number;
  readonly loss: RewardLoss;
  /** Answers of each ranking; 2: pairs; 1: an answer whose steps are labelled. Rows with another number are left out. */
  readonly answers: number;
  /** Of labelled steps: what stands between two of them. */
  readonly stepEnd?: string;
  /** Share of the pairs that is kept from training; all pairs of one first turn lie on one side. */
  readonly heldOut: number;
  /** Which share: the first turns whose hash lies in [fold × heldOut, (fold + 1) × heldOut). */
  readonly fold: number;
  /** m: by how much the score of the preferred answer should lead. */
  readonly margin: number;
  /** η: weight of (R_w + R_l)². */
  readonly centering: number;
  /** Held-out accuracy below which the run ends after this stage; of steps the balanced one, which has to exceed it. */
  readonly minimumAccuracy: number;
  readonly optimizer: ResolvedOptimizer;
}

export interface ResolvedSampling {
  readonly temperature: number;
  /** 0 = off. */
  readonly topK: number;
  /** 1 = off. */
  readonly topP: number;
  readonly maxNewTokens: number;
}

/** What stages that learn from their own samples have in common. */
export interface ResolvedRollouts {
  readonly model: ResolvedStart;
  readonly data: ResolvedData;
  /** Policy versions made; each has `epochs` passes over its batch. */
  readonly steps: number;
  readonly promptsPerStep: number;
  /** Completions per prompt. */
  readonly groupSize: number;
  /** Passes over each batch. */
  readonly epochs: number;
  /** Sequences per gradient pass; divides `promptsPerStep × groupSize`. */
  readonly microBatchSize: number;
  /** Tokens; prompts that are longer are left out. */
  readonly maxPromptLength: number;
  readonly sampling: ResolvedSampling;
  readonly rewards: readonly ResolvedReward[];
  readonly clip: { readonly low: number; readonly high: number };
  /** Lower bound c of the dual clip (> 1); 0 = off. */
  readonly dualClip: number;
  readonly kl: ResolvedKl;
  /** Absent: the learner computes its log-probs. */
  readonly reference?: ResolvedReference;
  readonly entropyCoefficient: number;
  readonly aggregation: Aggregation;
  readonly guards: readonly ResolvedGuard[];
  readonly until?: ResolvedUntil;
  readonly optimizer: ResolvedOptimizer;
}

/** An alarm over the metrics of a stage; its arithmetic is `guards.ts` of `@oarlock/run`. */
export interface ResolvedGuard {
  readonly name: string;
  readonly watch: GuardType;
  readonly reaction: GuardReaction;
  /**
   * `reward-hacking`: how far the gold score may fall while the proxy rises; `kl`: nats a completion; `entropy`: share of that
   * at the start; `value-loss`, `length`: times that at the start; `rejected-updates`: share of the window's updates.
   */
  readonly limit: number;
  /** Steps whose mean is looked at. */
  readonly window: number;
  /** Name of the held-out scorer, "" where the type asks for none. */
  readonly gold: string;
  /** What `raise-beta` multiplies the KL coefficient by. */
  readonly factor: number;
}

export interface ResolvedKl {
  readonly placement: KlPlacement;
  readonly estimator: KlEstimator;
  readonly coefficient: number;
}

/** The policy of the stage's start, to which the KL is. */
export interface ResolvedReference {
  /**
   * Who computes its log-probs of the samples: the learner when a batch is whole, or the actor that generated them, which then
   * holds its weights and sends the log-probs with them.
   */
  readonly computedBy: ComputedBy;
}

export interface ResolvedGrpo extends ResolvedRollouts {
  readonly advantage: Advantage;
}

export interface ResolvedPpo extends ResolvedRollouts {
  /** Updates of one pass; divides `promptsPerStep × groupSize`. */
  readonly miniBatches: number;
  /** γ. */
  readonly gamma: number;
  /** λ of GAE. */
  readonly lambda: number;
  /** Scores are cut to ± this; 0 = never. */
  readonly rewardClip: number;
  readonly whitenRewards: boolean;
  readonly whitenAdvantages: boolean;
  /** Nats a token from the policy before the step; no update is made beyond; 0 = off. */
  readonly maxKl: number;
  readonly kl: ResolvedPpoKl;
  readonly critic: ResolvedCritic;
  /** Absent: nothing is mixed in. */
  readonly ptx?: ResolvedPtx;
}

export interface ResolvedPtx {
  readonly data: ResolvedData;
  /** γ: what the mean −log p of these rows weighs beside PPO's loss. */
  readonly coefficient: number;
  /** Sequences in every update of a step. */
  readonly batchSize: number;
  readonly maxLength: number;
  readonly mask: LossMask;
}

export interface ResolvedPpoKl extends ResolvedKl {
  readonly controller: KlController;
  /** KL of one completion that the adaptive controller steers to, nats. */
  readonly target: number;
  /** Samples over which it may change the coefficient by a fifth. */
  readonly horizon: number;
}

export interface ResolvedCritic {
  /**
   * `trunk`: a value head on the policy, trained with it by the policy's optimizer; `from` is then unused, and `optimizer` is that
   * of the warm-up.
   */
  readonly network: CriticType;
  /** What the value loss weighs beside the policy's, on one trunk. */
  readonly coefficient: number;
  /** Where its weights start: a reward model, or a policy whose head is replaced by one of zeros. */
  readonly from: string;
  /** ε: values move at most so far from those before the step; 0 = no clip. */
  readonly clip: number;
  /** Steps at the stage's start that train the critic alone: on one trunk, the value head. */
  readonly warmupSteps: number;
  /**
   * Who computes the values of the samples: the learner at the start of a step, or the actor that generated them, by the critic
   * that goes with the policy that it sampled from: with lag an older one. Absent: the learner.
   */
  readonly computedBy?: ComputedBy;
  readonly optimizer: ResolvedOptimizer;
}

interface RewardHead extends ScoreShaping {
  readonly name: string;
  readonly weight: number;
  readonly optional: boolean;
  /** A gold scorer: observed, of weight 0. */
  readonly heldOut: boolean;
  readonly timeoutMs: number;
}

export type ResolvedReward =
  | (RewardHead & { readonly type: "exact"; readonly exact: ResolvedExact })
  | (RewardHead & {
      readonly type: "regex";
      readonly regex: { readonly pattern: string; readonly flags: string };
    })
  | (RewardHead & { readonly type: "contains"; readonly contains: ResolvedContains })
  | (RewardHead & { readonly type: "numeric"; readonly numeric: ResolvedNumeric })
  | (RewardHead & { readonly type: "format"; readonly format: { readonly tags: readonly string[] } })
  | (RewardHead & { readonly type: "length"; readonly length: ResolvedLength })
  | (RewardHead & {
      readonly type: "function";
      readonly function: {
        readonly file: string;
        readonly export: string;
        /** The user's word for it: scores are remembered by content. Absent: they are not. */
        readonly deterministic?: true;
      };
    })
  | (RewardHead & { readonly type: "model"; readonly model: ResolvedModelReward })
  | (RewardHead & EnsembleReward)
  | (RewardHead & ServiceReward);

export interface ResolvedExact {
  /** The row's part that holds the expected text. */
  readonly field: string;
  readonly caseSensitive: boolean;
  readonly trim: boolean;
}

export interface ResolvedContains {
  /** Literal text; "" = take it from `field`. */
  readonly text: string;
  readonly field: string;
  readonly caseSensitive: boolean;
}

export interface ResolvedNumeric {
  readonly field: string;
  readonly extract: NumericExtraction;
  readonly absoluteTolerance: number;
  readonly relativeTolerance: number;
}

/** 1 between `min` and `max`, falling to 0 over `softness` units outside (0 = at once). */
export interface ResolvedLength {
  readonly unit: LengthUnit;
  readonly min: number;
  readonly max: number;
  readonly softness: number;
}

export interface ResolvedEvaluation {
  readonly data: ResolvedData;
  /** Steps between evaluations inside a stage, 0 = only before and after each stage. */
  readonly every: number;
  /** Samples per prompt: k of mean@k and pass@k. */
  readonly samples: number;
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly maxNewTokens: number;
  readonly maxPromptLength: number;
  /** Also decode once per prompt at temperature 0. */
  readonly greedy: boolean;
  readonly rewards: readonly ResolvedReward[];
  /** Name of the reward that mean@k and pass@k are about. */
  readonly metric: string;
  /** A sample passes when the metric's value is at least this. */
  readonly passThreshold: number;
}
