/**
 * The mathematics of reinforcement learning from rewards: randomness by counters, advantages, KL, objectives in plain
 * numbers and as parts of a graph. No I/O, no engine, no state.
 */
export {
  block,
  initialNormals,
  normals,
  passOrder,
  permutation,
  PURPOSES,
  randomStream,
  mixedOrder,
  shuffledOrder,
  uniform,
} from "./random.ts";
export type { Purpose, RandomStream, SampleKey } from "./random.ts";
export { ADVANTAGES, groupAdvantages } from "./advantages.ts";
export type { AdvantageName, GroupReward } from "./advantages.ts";
export { AGGREGATIONS, tokenWeights } from "./aggregation.ts";
export type { AggregatedSequence, Aggregation, AggregationOptions } from "./aggregation.ts";
export { KL_ESTIMATORS, klEstimate, klGraph, penalisedReward } from "./kl.ts";
export type { KlEstimator, KlPenalty } from "./kl.ts";
export { generalisedAdvantages } from "./gae.ts";
export type { Advantages, GaeSettings } from "./gae.ts";
export { tokenRewards } from "./token-rewards.ts";
export type { TokenRewardSettings } from "./token-rewards.ts";
export { whiten } from "./whitening.ts";
export type { WhiteningOptions } from "./whitening.ts";
export { KL_CONTROLLERS, nextKlCoefficient } from "./kl-controller.ts";
export type { KlController, KlControllerName, ObservedKl } from "./kl-controller.ts";
export { CORRECTIONS, importanceMetrics, importanceWeights } from "./importance.ts";
export type { Correction, CorrectionSettings } from "./importance.ts";
export { mismatchMetrics } from "./mismatch.ts";
export type { SampledSequence } from "./mismatch.ts";
export { policyRatio, surrogateLoss } from "./policy-loss.ts";
export type { ClipBounds, SurrogateToken } from "./policy-loss.ts";
export { valueLoss } from "./value-loss.ts";
export type { ValueToken } from "./value-loss.ts";
export { allPairsLoss, bradleyTerryLoss, plackettLuceLoss } from "./preference.ts";
export type { PairSettings } from "./preference.ts";
export { pairReport } from "./preference-metrics.ts";
export type { HistogramBar, LeadReport, PairScores } from "./preference-metrics.ts";
export { stepLoss } from "./step-loss.ts";
export type { LabelledScore } from "./step-loss.ts";
export { stepReport } from "./step-metrics.ts";
export type { StepReport } from "./step-metrics.ts";
export { criticLoss } from "./graph/critic-loss.ts";
export type { CriticLoss, CriticTokens } from "./graph/critic-loss.ts";
export { allPairsGraph, pairLoss, plackettLuceGraph, rankingLoss } from "./graph/preference-loss.ts";
export type { PairLoss, ScoredPairs } from "./graph/preference-loss.ts";
export { stepLossGraph } from "./graph/step-loss.ts";
export type { ScoredSteps } from "./graph/step-loss.ts";
export { grpoLoss } from "./graph/grpo-loss.ts";
export type { GrpoLoss, GrpoLossSettings, GrpoSums, GrpoTokens } from "./graph/grpo-loss.ts";
export { sftLoss } from "./graph/sft-loss.ts";
export type { SftTokens } from "./graph/sft-loss.ts";
export { estimateScore, estimateShare, passAtK } from "./pass-at-k.ts";
export type { Estimate } from "./pass-at-k.ts";
