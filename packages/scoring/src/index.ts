/** Scorers beside the pool: reward models of the run, alone and in ensembles, and scorers of other processes; one vector of all. */
export { combineScorers } from "./combined-scorers.ts";
export type { ScorerPlace } from "./combined-scorers.ts";
export { cachedScorer } from "./cached-scorer.ts";
export { createEnsembleScorer, ensembleVersion } from "./ensemble-scorer.ts";
export type { EnsembleOptions } from "./ensemble-scorer.ts";
export { createFunctionScorer } from "./function-scorer.ts";
export { createExternalScorer } from "./external/external-scorer.ts";
export type { ExternalScorerOptions } from "./external/external-scorer.ts";
export { createGrpcLine } from "./external/grpc-line.ts";
export { createHttpLine } from "./external/http-line.ts";
export { createJudgeLine } from "./external/judge-line.ts";
export type { LineCredentials, ScorerLine } from "./external/scorer-line.ts";
export { checkTrust } from "./external/trust.ts";
export { createModelScorer } from "./model-scorer.ts";
export type { BatchScorer, ModelScorerOptions } from "./model-scorer.ts";
export { openRewardModelStore } from "./reward-model-store.ts";
export type { RewardModelStoreOptions } from "./reward-model-store.ts";
export type { ScoreOptions, ScorerActivity, ScorerSet, TrajectoryInput } from "./scorer-set.ts";
