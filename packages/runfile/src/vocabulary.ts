/**
 * The closed word lists of the run file: every enumerated value, once, as data and as a type.
 *
 * The schema, the resolved plan and the table of traps all read these; nothing here has behaviour.
 */

export const PROVIDERS = ["cpu", "cuda", "webgpu"] as const;
export type Provider = (typeof PROVIDERS)[number];

/** `native`: the C API through FFI; `binding`: the package's own API in worker threads. */
export const DRIVERS = ["native", "binding"] as const;
export type Driver = (typeof DRIVERS)[number];

export const PRECISIONS = ["float32"] as const;
export type Precision = (typeof PRECISIONS)[number];

/** ONNX Runtime's graph optimisation levels; they change bits, so they belong to the plan (D1). */
export const OPTIMIZATION_LEVELS = ["disabled", "basic", "extended", "all"] as const;
export type OptimizationLevel = (typeof OPTIMIZATION_LEVELS)[number];

/** How a sampler's session holds weights: `initializers` are prepacked, `inputs` need no rebuild per version. */
export const GENERATION_LAYOUTS = ["inputs", "initializers"] as const;
export type GenerationLayout = (typeof GENERATION_LAYOUTS)[number];

export const ROPE_CONVENTIONS = ["half-split", "interleaved"] as const;
export type RopeConvention = (typeof ROPE_CONVENTIONS)[number];

/** How generation and training overlap. */
export const PIPELINE_MODES = ["lockstep", "streaming"] as const;
export type PipelineMode = (typeof PIPELINE_MODES)[number];

/** How samples of older policies are weighed, as `@oarlock/rl` names it. */
export const CORRECTION_LEVELS = ["none", "token", "sequence", "token-mask"] as const;
export type CorrectionLevel = (typeof CORRECTION_LEVELS)[number];

/** Procedural tasks, as `@oarlock/data` names them (a test of the command line compares the two lists). */
export const TASK_NAMES = ["addition", "reverse-text", "copy-text", "sort-letters", "count-letter"] as const;
export type TaskName = (typeof TASK_NAMES)[number];

export const TASK_SPLITS = ["train", "test"] as const;
export type TaskSplit = (typeof TASK_SPLITS)[number];

export const DATA_FORMATS = ["auto", "jsonl", "json", "csv", "parquet"] as const;
export type DataFormat = (typeof DATA_FORMATS)[number];

/** `auto`: conversational rows are rendered, and plain prompts are left as they are. */
export const CHAT_TEMPLATE_USES = ["auto", "always", "never"] as const;
export type ChatTemplateUse = (typeof CHAT_TEMPLATE_USES)[number];

export const SCHEDULES = ["constant", "linear", "cosine"] as const;
export type Schedule = (typeof SCHEDULES)[number];

/** Which tokens SFT trains on. */
export const LOSS_MASKS = ["completion", "all"] as const;
export type LossMask = (typeof LOSS_MASKS)[number];

/** `grpo`: (R − mean) / std of the group; `dr-grpo`: R − mean. */
export const ADVANTAGES = ["grpo", "dr-grpo"] as const;
export type Advantage = (typeof ADVANTAGES)[number];

/** How token losses become one number; denominators are those of the whole batch (algorithms §5). */
export const AGGREGATIONS = [
  "token-mean-global",
  "token-mean-group",
  "seq-mean-token-mean",
  "seq-mean-token-sum",
  "dr-grpo",
] as const;
export type Aggregation = (typeof AGGREGATIONS)[number];

export const KL_PLACEMENTS = ["none", "loss", "reward"] as const;
export type KlPlacement = (typeof KL_PLACEMENTS)[number];

/** `fixed`: β stays; `adaptive`: it follows the KL of a completion (Ziegler et al. 2019). */
export const KL_CONTROLLERS = ["fixed", "adaptive"] as const;
export type KlController = (typeof KL_CONTROLLERS)[number];

/** Who computes what a rollout stage needs of its samples besides their rewards. */
export const COMPUTED_BY = ["learner", "actors"] as const;
export type ComputedBy = (typeof COMPUTED_BY)[number];

/** A critic is a network of its own, or a value head on the policy's trunk. */
export const CRITIC_TYPES = ["own", "trunk"] as const;
export type CriticType = (typeof CRITIC_TYPES)[number];

/** Kinds of stages. */
export const STAGE_TYPES = ["sft", "reward-model", "grpo", "ppo"] as const;
export type StageType = (typeof STAGE_TYPES)[number];

export const KL_ESTIMATORS = ["k1", "k2", "k3"] as const;
export type KlEstimator = (typeof KL_ESTIMATORS)[number];

/** Of a reward model: over pairs, over rankings of several answers, or over the labelled steps of an answer. */
export const REWARD_LOSSES = ["bradley-terry", "plackett-luce", "all-pairs", "binary-cross-entropy"] as const;
export type RewardLoss = (typeof REWARD_LOSSES)[number];

/** What a guard watches. */
export const GUARD_TYPES = [
  "reward-hacking",
  "kl",
  "entropy",
  "value-loss",
  "length",
  "rejected-updates",
] as const;
export type GuardType = (typeof GUARD_TYPES)[number];

/** Of an evaluation: mean@k, pass@k, the score of greedy completions. */
export const UNTIL_SCORES = ["mean", "pass", "greedy"] as const;
export type UntilScore = (typeof UNTIL_SCORES)[number];

/** What follows from a guard's alarm: the run ends; the stage ends at its last good policy; β grows. */
export const GUARD_REACTIONS = ["stop", "roll-back", "raise-beta"] as const;
export type GuardReaction = (typeof GUARD_REACTIONS)[number];

export const REWARD_TYPES = [
  "exact",
  "regex",
  "contains",
  "numeric",
  "format",
  "length",
  "function",
  "model",
  "ensemble",
  "http",
  "grpc",
  "judge",
] as const;
export type RewardType = (typeof REWARD_TYPES)[number];

/** `mean-variance`: mean − λ·variance over the members (Coste et al., arXiv:2310.02743). */
export const ENSEMBLE_COMBINATIONS = ["mean", "min", "mean-variance"] as const;
export type EnsembleCombination = (typeof ENSEMBLE_COMBINATIONS)[number];

/** `running`: scores less their running mean, over their running deviation, both of the stage so far. */
export const REWARD_NORMALIZATIONS = ["none", "running"] as const;
export type RewardNormalization = (typeof REWARD_NORMALIZATIONS)[number];

/** What a score is of: the whole completion, or each of its tokens. */
export const SCORE_SCOPES = ["trajectory", "token"] as const;
export type ScoreScope = (typeof SCORE_SCOPES)[number];

/** What a reward model's scores are of: the whole completion (outcome), or each of its steps (process). */
export const MODEL_SCORE_SCOPES = ["trajectory", "step"] as const;
export type ModelScoreScope = (typeof MODEL_SCORE_SCOPES)[number];

/** Where a numeric verifier looks for the answer in a completion. */
export const NUMERIC_EXTRACTIONS = ["last-number", "boxed", "hashes", "whole"] as const;
export type NumericExtraction = (typeof NUMERIC_EXTRACTIONS)[number];

export const LENGTH_UNITS = ["tokens", "characters"] as const;
export type LengthUnit = (typeof LENGTH_UNITS)[number];

/** Traps that a user may walk into on purpose by naming them under `allow`. */
export const TRAP_CODES = [
  "LEARNING_RATE_RANGE",
  "EVALUATION_ON_TRAINING_DATA",
  "TRUNCATED_SAMPLING",
  "EPOCHS_MANY",
  "MEMORY",
  "DATA_SMALLER_THAN_STEP",
] as const;
export type TrapCode = (typeof TRAP_CODES)[number];

/** Roles of a run on a cluster. */
export const ROLE_NAMES = ["actor", "reward", "learner"] as const;
export type RoleName = (typeof ROLE_NAMES)[number];

/**
 * `Static`: a change of `replicas` in the run is applied; `External`: only the RolePool's scale counts; `Balanced`: the
 * controller decides, so that the learner neither waits nor drowns.
 */
export const SCALING_MODES = ["Static", "External", "Balanced"] as const;
export type ScalingMode = (typeof SCALING_MODES)[number];

export const STORAGE_TYPES = ["claim", "new", "objectStore", "emptyDir"] as const;
export type StorageType = (typeof STORAGE_TYPES)[number];

export const TLS_TYPES = ["secret", "certManager", "runCA"] as const;
export type TlsType = (typeof TLS_TYPES)[number];

/** Who acts on a run: our controller, or nobody here because another cluster does. */
export const MANAGERS = ["oarlock.dev/controller", "kueue.x-k8s.io/multikueue"] as const;
export type Manager = (typeof MANAGERS)[number];

export const ISSUER_KINDS = ["Issuer", "ClusterIssuer"] as const;
export type IssuerKind = (typeof ISSUER_KINDS)[number];
