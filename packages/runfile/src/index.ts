export { runFileSchema } from "./schema/spec.ts";
export type { ClusterSpec, NatsSpec, RoleSpec, StorageSpec } from "./cluster-spec.ts";
export type {
  DataSpec,
  EvaluationSpec,
  GrpoSpec,
  ModelSpec,
  RewardSpec,
  RunFile,
  RunSpec,
  SftSpec,
  StageSpec,
} from "./run-file.ts";
export type {
  DataInput,
  EngineInput,
  FunctionInput,
  ScorerInput,
  ModelInput,
  ModelShape,
  ResolvedCompute,
  ResolvedData,
  ResolvedEvaluation,
  ResolvedFields,
  ResolvedFileData,
  ResolvedGrpo,
  ResolvedHubData,
  ResolvedModel,
  ResolvedModelInit,
  ResolvedCritic,
  ResolvedCorrection,
  ResolvedKl,
  ResolvedOptimizer,
  ResolvedPpo,
  ResolvedReward,
  ResolvedGuard,
  ResolvedUntil,
  ResolvedRewardModel,
  ResolvedRollouts,
  ResolvedStart,
  ResolvedRun,
  ResolvedSampling,
  ResolvedSft,
  ResolvedSpec,
  ResolvedStage,
  ResolvedTask,
  ResolvedTokenizer,
  RunInputs,
} from "./resolved.ts";
export type {
  ResolvedEnsemble,
  ResolvedModelReward,
  ResolvedGrpcReward,
  ResolvedJudge,
  ResolvedService,
  ScoreClip,
  ScoreShaping,
} from "./reward-services.ts";
export type {
  Advantage,
  Aggregation,
  EnsembleCombination,
  KlController,
  KlEstimator,
  KlPlacement,
  LossMask,
  RewardType,
  RoleName,
  ScalingMode,
  Schedule,
  StageType,
  TaskName,
  TrapCode,
} from "./vocabulary.ts";
export { type Manager, ROLE_NAMES } from "./vocabulary.ts";
export { CARD_RESOURCE, cardsAsked } from "./cards.ts";
export { irreproducibleBecause } from "./reproducible.ts";
export { readRunFile } from "./read-run-file.ts";
export type { ReadOptions, ReadResult, ReadRunFile, ValueSource } from "./read-run-file.ts";
export { formatPath, formatProblem, runFileError } from "./problem.ts";
export type { Path, Problem } from "./problem.ts";
export { acceptedAt, runFileJsonSchema } from "./json-schema.ts";
export type { SchemaNode } from "./json-schema.ts";
export { customResources } from "./custom-resource/index.ts";
export { resolvePlan } from "./plan/plan.ts";
export type { Plan } from "./plan/plan.ts";
export { resolveSpec } from "./plan/resolve-spec.ts";
export type { Origin, Origins } from "./plan/origins.ts";
export type { DataFacts, MachineFacts, ModelFacts, PlanFacts, ScorerFacts } from "./plan/facts.ts";
export { dataUses, functionUses, scorerUses } from "./plan/inputs.ts";
export type { DataUse, FunctionUse, ScorerUse } from "./plan/inputs.ts";
export { initShape, parameterCount } from "./plan/shape.ts";
export { DEAD_BYTES, estimateMemory, LARGE_PARAMETERS } from "./plan/memory.ts";
export type { MemoryEstimate } from "./plan/memory.ts";
export { estimateTime } from "./plan/time.ts";
export type { Calibration, StageTokens, TimeEstimate } from "./plan/time.ts";
export { bundleReference, clusterSource, isConfined, mapSources, sourcePath } from "./sources.ts";
export { sourcesOf, sourcesReadBy } from "./sources.ts";
export type { ClusterSource, SourceUse } from "./sources.ts";
export { rolloutWindow, usefulActors } from "./plan/useful-actors.ts";
export type { RolloutWindow, UsefulActors } from "./plan/useful-actors.ts";
export { decideStages, stageInputs } from "./plan/stage-inputs.ts";
export type { EarlierRun, StageDecision, StageInputs } from "./plan/stage-inputs.ts";
export { canonicalJson, digestOf, requireUnchanged, runDigest } from "./plan/digest.ts";
export { formatBytes, formatCount, formatDuration } from "./plan/format.ts";
export {
  blockOf,
  isStageResult,
  longestGenerated,
  modelsOf,
  policyBefore,
  referenceBy,
  referencedStage,
  referencesOf,
  restartsPolicy,
  rewardsOf,
  rolloutsOf,
  untilOf,
  scorerNumber,
  scorerShape,
  scorersRead,
  stageResult,
  trainsPolicy,
  valuesBy,
} from "./stage-parts.ts";
export type { StageBlock } from "./stage-parts.ts";
export { batchesInFlight, correctionOf, laggingVersions } from "./pipeline.ts";
export { passOf } from "./plan/memory.ts";
export { yamlText } from "./yaml-text.ts";
