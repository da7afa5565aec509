export { startReward } from "./main.ts";
export type { RewardParts, RunningReward } from "./main.ts";
export type { RunScorers, TextDecoder } from "./scoring.ts";
export { REWARD_INSTRUMENTS } from "./metrics.ts";
export { openReward } from "./open.ts";
export type { OpenRewardParts } from "./open.ts";
