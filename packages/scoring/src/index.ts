/** Reward models of a run as scorers: how they get from learner to workers, how they score, their place among other scorers. */
export { combineScorers } from "./combined-scorers.ts";
export type { ScorerPlace } from "./combined-scorers.ts";
export { createModelScorer } from "./model-scorer.ts";
export type { BatchScorer, ModelScorerOptions } from "./model-scorer.ts";
export { openRewardModelStore } from "./reward-model-store.ts";
export type { RewardModelStoreOptions } from "./reward-model-store.ts";
export type { ScorerSet, TrajectoryInput } from "./scorer-set.ts";
