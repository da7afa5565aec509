/**
 * The run file as a user writes it: the TypeScript side of the schema in `schema/`.
 *
 * A union is `type: x` with a sibling block `x: {…}` (what a Kubernetes structural schema can say). Optional here
 * means "has a default that the plan fills"; the filled form is `resolved.ts`. Knows nothing of YAML or of files.
 */
import type { ClusterSpec } from "./cluster-spec.ts";
import type { ModelRewardSpec, RewardServiceSpecs } from "./reward-services.ts";
import type {
  Advantage,
  Aggregation,
  ChatTemplateUse,
  ComputedBy,
  CriticType,
  DataFormat,
  CorrectionLevel,
  Driver,
  GenerationLayout,
  GuardReaction,
  GuardType,
  KlController,
  KlEstimator,
  KlPlacement,
  LengthUnit,
  LossMask,
  NumericExtraction,
  OptimizationLevel,
  PipelineMode,
  RewardLoss,
  Precision,
  Provider,
  RewardType,
  RopeConvention,
  Schedule,
  StageType,
  TaskName,
  TaskSplit,
  TrapCode,
  UntilScore,
} from "./vocabulary.ts";

/** One TrainingRun document. */
export interface RunFile {
  readonly apiVersion: "oarlock.dev/v1alpha1";
  readonly kind: "TrainingRun";
  readonly metadata: MetadataSpec;
  readonly spec: RunSpec;
}

export interface MetadataSpec {
  readonly name: string;
  readonly namespace?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
}

export interface RunSpec extends ClusterSpec {
  readonly seed?: number | undefined;
  readonly model: ModelSpec;
  readonly pipeline?: PipelineSpec | undefined;
  readonly compute?: ComputeSpec | undefined;
  readonly stages: readonly StageSpec[];
  readonly evaluation?: EvaluationSpec | undefined;
  readonly checkpoints?: CheckpointsSpec | undefined;
  readonly output?: OutputSpec | undefined;
  /** Codes of traps that this run walks into on purpose. */
  readonly allow?: readonly TrapCode[] | undefined;
}

/** Exactly one of `from` (a folder, or `hf://org/name[@revision]`) and `init` (a new model from the seed). */
export interface ModelSpec {
  readonly from?: string | undefined;
  readonly init?: ModelInitSpec | undefined;
}

export interface ModelInitSpec {
  readonly architecture?: "llama" | undefined;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads?: number | undefined;
  readonly headSize?: number | undefined;
  readonly maxPositions: number;
  readonly ropeTheta?: number | undefined;
  readonly ropeConvention?: RopeConvention | undefined;
  readonly rmsNormEps?: number | undefined;
  readonly tiedEmbeddings?: boolean | undefined;
  readonly qkvBias?: boolean | undefined;
  readonly qkNorm?: boolean | undefined;
  readonly tokenizer: TokenizerSpec;
}

export interface TokenizerSpec {
  readonly type: "characters" | "file";
  readonly characters?: { readonly alphabet: string } | undefined;
  readonly file?: { readonly path: string } | undefined;
}

export interface PipelineSpec {
  readonly mode?: PipelineMode | undefined;
  readonly lag?: number | undefined;
  readonly maxStaleness?: number | undefined;
  readonly correction?: CorrectionSpec | undefined;
}

export interface CorrectionSpec {
  readonly level?: CorrectionLevel | undefined;
  readonly minRatio?: number | undefined;
  readonly maxRatio?: number | undefined;
}

export interface ComputeSpec {
  readonly provider?: Provider | undefined;
  readonly driver?: Driver | undefined;
  readonly libraryPath?: string | undefined;
  readonly precision?: Precision | undefined;
  readonly optimizationLevel?: OptimizationLevel | undefined;
  readonly generationLayout?: GenerationLayout | undefined;
  readonly generationThreads?: number | undefined;
  readonly generationWorkers?: number | undefined;
  readonly trainingThreads?: number | undefined;
  readonly actors?: number | undefined;
  readonly rewardWorkers?: number | undefined;
  readonly slots?: number | undefined;
}

export interface DataSpec {
  readonly type: "task" | "file" | "hub";
  readonly task?: TaskDataSpec | undefined;
  readonly file?: FileDataSpec | undefined;
  readonly hub?: HubDataSpec | undefined;
}

export interface TaskDataSpec {
  readonly name: TaskName;
  readonly split?: TaskSplit | undefined;
  readonly digits?: number | undefined;
  readonly limit?: number | undefined;
}

/** Which column of the user's rows plays which part; TRL's and verl's column names need no mapping. */
export interface FieldMapSpec {
  readonly prompt?: string | undefined;
  readonly completion?: string | undefined;
  readonly answer?: string | undefined;
  readonly messages?: string | undefined;
  readonly chosen?: string | undefined;
  readonly rejected?: string | undefined;
  readonly ranking?: string | undefined;
  readonly completions?: string | undefined;
  readonly labels?: string | undefined;
}

interface TableDataSpec {
  readonly fields?: FieldMapSpec | undefined;
  readonly systemPrompt?: string | undefined;
  readonly chatTemplate?: ChatTemplateUse | undefined;
  readonly limit?: number | undefined;
  readonly skip?: number | undefined;
}

export interface FileDataSpec extends TableDataSpec {
  readonly path: string;
  readonly format?: DataFormat | undefined;
}

export interface HubDataSpec extends TableDataSpec {
  readonly dataset: string;
  readonly config?: string | undefined;
  readonly split?: string | undefined;
}

export interface OptimizerSpec {
  readonly learningRate?: number | undefined;
  readonly warmupSteps?: number | undefined;
  readonly schedule?: Schedule | undefined;
  readonly minLearningRate?: number | undefined;
  readonly weightDecay?: number | undefined;
  readonly beta1?: number | undefined;
  readonly beta2?: number | undefined;
  readonly epsilon?: number | undefined;
  readonly maxGradNorm?: number | undefined;
}

export interface StageSpec {
  readonly name: string;
  readonly type: StageType;
  readonly sft?: SftSpec | undefined;
  readonly "reward-model"?: RewardModelSpec | undefined;
  readonly grpo?: GrpoSpec | undefined;
  readonly ppo?: PpoSpec | undefined;
}

/** Whose result a model starts from: `stage/<name>`, or `model`, the run's own. */
export interface StartSpec {
  readonly from?: string | undefined;
}

/** What stages that learn from given rows have in common. */
interface GivenRowsSpec {
  readonly model?: StartSpec | undefined;
  readonly data: DataSpec;
  readonly steps: number;
  readonly batchSize?: number | undefined;
  readonly microBatchSize?: number | undefined;
  readonly maxLength?: number | undefined;
  readonly optimizer?: OptimizerSpec | undefined;
}

export interface RewardModelSpec extends GivenRowsSpec {
  readonly loss?: RewardLoss | undefined;
  readonly answers?: number | undefined;
  readonly stepEnd?: string | undefined;
  readonly heldOut?: number | undefined;
  readonly fold?: number | undefined;
  readonly margin?: number | undefined;
  readonly centering?: number | undefined;
  readonly minimumAccuracy?: number | undefined;
}

/** The stage ends with the first evaluation that gives at least so much. */
export interface UntilSpec {
  readonly score?: UntilScore | undefined;
  readonly atLeast: number;
}

export interface SftSpec extends GivenRowsSpec {
  readonly until?: UntilSpec | undefined;
  readonly mask?: LossMask | undefined;
}

export interface SamplingSpec {
  readonly temperature?: number | undefined;
  readonly topK?: number | undefined;
  readonly topP?: number | undefined;
  readonly maxNewTokens?: number | undefined;
}

/** What stages that learn from their own samples have in common. */
export interface RolloutSpec {
  readonly model?: StartSpec | undefined;
  readonly data: DataSpec;
  readonly steps: number;
  readonly promptsPerStep?: number | undefined;
  readonly groupSize?: number | undefined;
  readonly epochs?: number | undefined;
  readonly microBatchSize?: number | undefined;
  readonly maxPromptLength?: number | undefined;
  readonly sampling?: SamplingSpec | undefined;
  readonly rewards: readonly RewardSpec[];
  readonly clip?: { readonly low?: number | undefined; readonly high?: number | undefined } | undefined;
  readonly dualClip?: number | undefined;
  readonly entropyCoefficient?: number | undefined;
  readonly aggregation?: Aggregation | undefined;
  readonly reference?: ReferenceSpec | undefined;
  readonly guards?: readonly GuardSpec[] | undefined;
  readonly until?: UntilSpec | undefined;
  readonly optimizer?: OptimizerSpec | undefined;
}

/** An alarm over the metrics of a stage, and what follows from it. */
export interface GuardSpec {
  readonly name: string;
  readonly watch: GuardType;
  readonly reaction: GuardReaction;
  readonly limit?: number | undefined;
  readonly window?: number | undefined;
  readonly gold?: string | undefined;
  readonly factor?: number | undefined;
}

export interface ReferenceSpec {
  readonly computedBy?: ComputedBy | undefined;
}

export interface GrpoSpec extends RolloutSpec {
  readonly advantage?: Advantage | undefined;
  readonly kl?: KlSpec | undefined;
}

export interface PpoSpec extends RolloutSpec {
  readonly miniBatches?: number | undefined;
  readonly gamma?: number | undefined;
  readonly lambda?: number | undefined;
  readonly rewardClip?: number | undefined;
  readonly whitenRewards?: boolean | undefined;
  readonly whitenAdvantages?: boolean | undefined;
  readonly maxKl?: number | undefined;
  readonly kl?: PpoKlSpec | undefined;
  readonly critic?: CriticSpec | undefined;
  readonly ptx?: PtxSpec | undefined;
}

/** Demonstrations or plain texts whose likelihood is kept up while PPO goes on (PPO-ptx). */
export interface PtxSpec {
  readonly data: DataSpec;
  readonly coefficient: number;
  readonly batchSize?: number | undefined;
  readonly maxLength?: number | undefined;
  readonly mask?: LossMask | undefined;
}

export interface CriticSpec {
  readonly network?: CriticType | undefined;
  readonly coefficient?: number | undefined;
  readonly from?: string | undefined;
  readonly clip?: number | undefined;
  readonly warmupSteps?: number | undefined;
  readonly computedBy?: ComputedBy | undefined;
  readonly optimizer?: OptimizerSpec | undefined;
}

export interface KlSpec {
  readonly placement?: KlPlacement | undefined;
  readonly estimator?: KlEstimator | undefined;
  readonly coefficient?: number | undefined;
}

export interface PpoKlSpec extends KlSpec {
  readonly controller?: KlController | undefined;
  readonly target?: number | undefined;
  readonly horizon?: number | undefined;
}

export interface RewardSpec extends RewardServiceSpecs {
  readonly name: string;
  readonly type: RewardType;
  readonly weight?: number | undefined;
  /** A failed optional scorer is left out; a failed required one fails the sample (S1). */
  readonly optional?: boolean | undefined;
  /** A gold scorer: it is observed and never trained on. */
  readonly heldOut?: boolean | undefined;
  readonly timeoutMs?: number | undefined;
  readonly exact?: ExactSpec | undefined;
  readonly regex?: RegexSpec | undefined;
  readonly contains?: ContainsSpec | undefined;
  readonly numeric?: NumericSpec | undefined;
  readonly format?: FormatSpec | undefined;
  readonly length?: LengthSpec | undefined;
  readonly function?: FunctionSpec | undefined;
  readonly model?: ModelRewardSpec | undefined;
}

export interface ExactSpec {
  readonly field?: string | undefined;
  readonly caseSensitive?: boolean | undefined;
  readonly trim?: boolean | undefined;
}

export interface RegexSpec {
  readonly pattern: string;
  readonly flags?: string | undefined;
}

export interface ContainsSpec {
  readonly text?: string | undefined;
  readonly field?: string | undefined;
  readonly caseSensitive?: boolean | undefined;
}

export interface NumericSpec {
  readonly field?: string | undefined;
  readonly extract?: NumericExtraction | undefined;
  readonly absoluteTolerance?: number | undefined;
  readonly relativeTolerance?: number | undefined;
}

export interface FormatSpec {
  readonly tags: readonly string[];
}

export interface LengthSpec {
  readonly unit?: LengthUnit | undefined;
  readonly min?: number | undefined;
  readonly max: number;
  readonly softness?: number | undefined;
}

export interface FunctionSpec {
  readonly file: string;
  readonly export?: string | undefined;
  readonly deterministic?: boolean | undefined;
}

export interface EvaluationSpec {
  readonly data: DataSpec;
  readonly every?: number | undefined;
  readonly samples?: number | undefined;
  readonly temperature?: number | undefined;
  readonly topK?: number | undefined;
  readonly topP?: number | undefined;
  readonly maxNewTokens?: number | undefined;
  readonly maxPromptLength?: number | undefined;
  readonly greedy?: boolean | undefined;
  readonly rewards?: readonly RewardSpec[] | undefined;
  readonly metric?: string | undefined;
  readonly passThreshold?: number | undefined;
}

export interface CheckpointsSpec {
  readonly every?: number | undefined;
  readonly keep?: number | undefined;
}

export interface OutputSpec {
  readonly samplesPerStep?: number | undefined;
  readonly tensorboard?: boolean | undefined;
}
