/** The policy's loss against OpenRLHF's `PolicyLoss` and TRL's `GRPOTrainer`. */
import {
  type Aggregation,
  type ClipBounds,
  type CorrectionSettings,
  grpoLoss,
  importanceWeights,
  klEstimate,
  type KlPenalty,
  surrogateLoss,
} from "@oarlock/rl";
import { completions, type PeerBatch, peerBatch, tensorsOf } from "./peer-batch.ts";
import { batch, inputsOf, MAX_LENGTH, type PeerCase, SEED, sum, weightsOf } from "./peer-case.ts";

/** Ratios far beyond the bounds: the dual clip has something to cut. */
const far = peerBatch({ seed: SEED + 1, rows: 8, tokens: MAX_LENGTH, spread: 1 });
/** One log-ratio of 25 with a negative advantage, and one gap of −12 to the reference. */
const extreme: PeerBatch = {
  ...batch,
  oldLogprobs: batch.oldLogprobs.with(0, (batch.logprobs[0] ?? 0) - 25),
  advantages: batch.advantages.with(0, -1),
};
const distant: PeerBatch = {
  ...batch,
  refLogprobs: batch.refLogprobs.with(0, (batch.logprobs[0] ?? 0) + 12),
};

interface PolicyCase {
  readonly library: PeerCase["library"];
  readonly name: string;
  readonly settings: PeerCase["settings"];
  readonly from?: PeerBatch;
  readonly clip: ClipBounds;
  readonly aggregation?: Aggregation;
  readonly kl?: KlPenalty;
  readonly correction?: CorrectionSettings;
  readonly reason?: string;
}

/** The clipped surrogate with what else is in the policy's loss. */
function policyCase({
  library,
  name,
  settings,
  from = batch,
  clip,
  aggregation = "token-mean-global",
  kl,
  correction = { level: "none", minRatio: 0, maxRatio: 1 },
  reason,
}: PolicyCase): PeerCase {
  const { logprobs, oldLogprobs, refLogprobs, advantages } = from;
  const weight = weightsOf(from, aggregation);
  const rollouts = completions(from, from.rolloutLogprobs);
  const importance = new Float32Array(weight.length);
  completions(from, oldLogprobs).forEach((training, row) =>
    importance.set(
      importanceWeights({ rollout: rollouts[row] ?? [], training }, correction),
      row * from.tokens,
    ),
  );
  const feeds = { logprobs, oldLogprobs, refLogprobs, advantages, importance, weight };
  const { graph, input } = inputsOf(feeds);
  const variable = input("logprobs");
  const { loss } = grpoLoss(
    {
      logprobs: variable,
      oldLogprobs: input("oldLogprobs"),
      refLogprobs: input("refLogprobs"),
      advantages: input("advantages"),
      importance: input("importance"),
      weight: input("weight"),
    },
    { clip, ...(kl ? { klCoefficient: kl.coefficient, klEstimator: kl.estimator } : {}) },
  );
  const reference = sum(weight, (one, i) => {
    const at = (array: Float32Array): number => array[i] ?? 0;
    const token = { logprob: at(logprobs), oldLogprob: at(oldLogprobs), advantage: at(advantages) };
    const penalty = kl ? kl.coefficient * klEstimate(kl.estimator, at(logprobs) - at(refLogprobs)) : 0;
    return one === 0 ? 0 : one * (at(importance) * surrogateLoss(token, clip) + penalty);
  });
  const names = ["logprobs", "oldLogprobs", "rolloutLogprobs", "refLogprobs", "advantages", "mask"] as const;
  return {
    library,
    name,
    call: library === "trl" ? "grpo" : "policy",
    settings,
    tensors: tensorsOf(from, names),
    variable: "logprobs",
    reference: [reference],
    graph: { graph, loss, variable, feeds },
    ...(reason === undefined ? {} : { reason }),
  };
}

const CLIP: ClipBounds = { low: 0.2, high: 0.28 };
const CLIP_EPS = { clip_eps_low: CLIP.low, clip_eps_high: CLIP.high };
const corrected = { minRatio: 0.7, maxRatio: 1.4 };
const correction = { is_correction_level: "token", is_correction_threshold: [0.7, 1.4] };
const klCases = (["k1", "k2", "k3"] as const).map((estimator): PolicyCase => ({
  library: "openrlhf",
  name: `PolicyLoss + compute_approx_kl, ${estimator}`,
  settings: { ...CLIP_EPS, kl: { estimator, coefficient: 0.1 } },
  clip: CLIP,
  kl: { estimator, coefficient: 0.1 },
}));

const OPENRLHF: readonly PolicyCase[] = [
  { library: "openrlhf", name: "PolicyLoss, token mean", settings: CLIP_EPS, clip: CLIP },
  {
    library: "openrlhf",
    name: "PolicyLoss, mean of sequences",
    settings: { ...CLIP_EPS, token_level_loss: false },
    clip: CLIP,
    aggregation: "seq-mean-token-mean",
  },
  {
    library: "openrlhf",
    name: "PolicyLoss, dual clip 3",
    settings: { ...CLIP_EPS, dual_clip: 3 },
    from: far,
    clip: { ...CLIP, dual: 3 },
  },
  {
    library: "openrlhf",
    name: "PolicyLoss, a log-ratio of 25",
    settings: CLIP_EPS,
    from: extreme,
    clip: CLIP,
  },
  {
    library: "openrlhf",
    name: "PolicyLoss, ratio to the sampler clipped",
    settings: { ...CLIP_EPS, ...correction, is_correction_mode: "clip" },
    clip: CLIP,
    correction: { level: "token", ...corrected },
  },
  {
    library: "openrlhf",
    name: "PolicyLoss, ratio to the sampler masked",
    settings: { ...CLIP_EPS, ...correction, is_correction_mode: "mask" },
    clip: CLIP,
    correction: { level: "token-mask", ...corrected },
  },
  ...klCases,
  {
    library: "openrlhf",
    name: "PolicyLoss + compute_approx_kl, k3, a gap of −12",
    settings: { ...CLIP_EPS, kl: { estimator: "k3", coefficient: 0.1 } },
    from: distant,
    clip: CLIP,
    kl: { estimator: "k3", coefficient: 0.1 },
    reason: "OpenRLHF cuts each estimate to ±10, and its gradient to 0; we cut the log-ratio to ±20",
  },
];

const TRL_SETTINGS = { beta: 0, low: CLIP.low, high: CLIP.high };
const TRL: readonly PolicyCase[] = [
  {
    library: "trl",
    name: "GRPOTrainer, loss_type dapo",
    settings: { ...TRL_SETTINGS, lossType: "dapo" },
    clip: CLIP,
  },
  {
    library: "trl",
    name: "GRPOTrainer, loss_type grpo, k3",
    settings: { ...TRL_SETTINGS, lossType: "grpo", beta: 0.1 },
    clip: CLIP,
    aggregation: "seq-mean-token-mean",
    kl: { estimator: "k3", coefficient: 0.1 },
  },
  {
    library: "trl",
    name: "GRPOTrainer, loss_type dr_grpo",
    settings: { ...TRL_SETTINGS, lossType: "dr_grpo", maxLength: MAX_LENGTH },
    clip: CLIP,
    aggregation: "dr-grpo",
  },
  {
    library: "trl",
    name: "GRPOTrainer, loss_type dapo, delta 3",
    settings: { ...TRL_SETTINGS, lossType: "dapo", delta: 3 },
    from: far,
    clip: { ...CLIP, dual: 3 },
  },
  {
    library: "trl",
    name: "GRPOTrainer, loss_type dapo, a log-ratio of 25",
    settings: { ...TRL_SETTINGS, lossType: "dapo" },
    from: extreme,
    clip: CLIP,
    reason: "TRL bounds no log-ratio: its loss is of e^25, ours of e^20, without a gradient",
  },
];

export const policyCases: readonly PeerCase[] = [...OPENRLHF, ...TRL].map(policyCase);
