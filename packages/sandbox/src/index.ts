/** Scorers of code: verifiers, and users' functions in killable threads. */
export { checkFunction, openScorers, rewardDigest } from "./open-scorers.ts";
export type {
  OpenScorersOptions,
  RewardSettings,
  ScoredListener,
  ScorerInfo,
  ScorerPool,
} from "./open-scorers.ts";
export { bundleReward } from "./bundle.ts";
export type { Bundle } from "./bundle.ts";
