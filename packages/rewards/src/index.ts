/** Rewards: verifiers that need nothing but the text, and the form of users' own reward functions. */
// For those who write rewards:
export { defineReward } from "./define-reward.ts";
export type { RewardFunction, RewardInput, RewardResult } from "./define-reward.ts";
export { failed } from "./verdict.ts";
// For the rest of Oarlock:
export { applyReward } from "./define-reward.ts";
export { isUsableScore, scored, scoredTokens } from "./verdict.ts";
export type { Failed, Scored, ScoringInput, TokenRange, TokenScores, Verdict, Verifier } from "./verdict.ts";
export { createVerifier, isLinear, isVerifierType, VERIFIERS_VERSION } from "./verifier.ts";
export type { VerifierOptions, VerifierType } from "./verifier.ts";
export { extractNumber, parseNumber } from "./verifiers/numeric.ts";
