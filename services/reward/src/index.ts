export { startReward } from "./main.ts";
export type { RewardParts, RunningReward } from "./main.ts";
export { readRewardConfig } from "./config.ts";
export type { RewardConfig } from "./config.ts";
export { combineScorers } from "./combined-scorers.ts";
export type { ScorerPlace } from "./combined-scorers.ts";
export { createModelScorer } from "./model-scorer.ts";
export type { BatchScorer, ModelScorerOptions } from "./model-scorer.ts";
export type { RunScorers, ScorerSet, TextDecoder } from "./scoring.ts";
