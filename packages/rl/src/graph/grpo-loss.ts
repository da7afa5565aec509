/**
 * GRPO (DeepSeekMath, arXiv:2402.03300, eq. 3) as part of the training graph:
 *
 *   loss = Σ_t w_t · ( −ι_t·min(r_t·A_t, clip(r_t, 1 − low, 1 + high)·A_t) + β·KL_t − c·H_t ),   r_t = π_θ / π_old
 *
 * with the weights w of `tokenWeights`, and ι of `importanceWeights` where the samples are another policy's. All inputs have one shape, whatever it is; the result is a scalar. It knows
 * nothing of models, batches or groups.
 */
import { OarlockError } from "@oarlock/errors";
import {
  add,
  and,
  cast,
  clip,
  exp,
  greater,
  less,
  max,
  min,
  mul,
  neg,
  reduceSum,
  sub,
  type Value,
  where,
} from "@oarlock/onnx";
import { klGraph, type KlEstimator, MAX_LOG_RATIO } from "../kl.ts";
import type { ClipBounds } from "../policy-loss.ts";

/** Per-token values of one shape, float32, log-probs in nats. */
export interface GrpoTokens {
  readonly logprobs: Value;
  readonly oldLogprobs: Value;
  /** Needed where the KL coefficient is above 0. */
  readonly refLogprobs?: Value;
  readonly advantages: Value;
  /** ι, a constant of the step; absent: 1. */
  readonly importance?: Value;
  /** Mask over the batch's denominator; 0 where a token is not trained. */
  readonly weight: Value;
  /** Needed where the entropy coefficient is above 0; else only summed. */
  readonly entropy?: Value;
}

export interface GrpoLossSettings {
  readonly clip: ClipBounds;
  /** β; 0 leaves the term out. A value of the graph is fed, for a β that moves. Default 0. */
  readonly klCoefficient?: number | Value;
  /** Default k3. */
  readonly klEstimator?: KlEstimator;
  /** c; the loss falls by c times the entropy. Default 0. */
  readonly entropyCoefficient?: number;
}

/** Scalars of the graph: Σ weight · quantity. */
export interface GrpoSums {
  readonly policyLoss: Value;
  /** k1 between the policy before and after: old − new. */
  readonly oldKl: Value;
  /** Tokens whose clipped term was the smaller one. */
  readonly clipFraction: Value;
  /** Tokens cut by the dual clip, where there is one. */
  readonly clipFractionLower?: Value;
  readonly refKl?: Value;
  readonly entropy?: Value;
}

export interface GrpoLoss {
  /** The scalar to minimise. */
  readonly loss: Value;
  readonly sums: GrpoSums;
}

/** Adds the objective to the graph of its inputs. Throws `RL_INPUT_MISSING` where a term lacks its input. */
export function grpoLoss(tokens: GrpoTokens, settings: GrpoLossSettings): GrpoLoss {
  if (!tokens.refLogprobs && isPositive(settings.klCoefficient)) throw missing("KL", "refLogprobs");
  if (!tokens.entropy && (settings.entropyCoefficient ?? 0) > 0) throw missing("entropy", "entropy");
  const { logprobs, oldLogprobs, refLogprobs, advantages, importance, weight, entropy } = tokens;
  const weighted = (value: Value): Value => reduceSum(mul(value, weight));
  const logRatio = clip(sub(logprobs, oldLogprobs), -MAX_LOG_RATIO, MAX_LOG_RATIO);
  const surrogate = clippedSurrogate(exp(logRatio), advantages, settings.clip);
  const sums: GrpoSums = {
    policyLoss: weighted(importance ? mul(surrogate.loss, importance) : surrogate.loss),
    oldKl: weighted(neg(logRatio)),
    clipFraction: weighted(cast(surrogate.clipped, "float32")),
    ...(surrogate.cut && { clipFractionLower: weighted(cast(surrogate.cut, "float32")) }),
    ...(refLogprobs && { refKl: weighted(klGraph(settings.klEstimator ?? "k3", logprobs, refLogprobs)) }),
    ...(entropy && { entropy: weighted(entropy) }),
  };
  return { loss: withRegularisers(sums, settings), sums };
}

const missing = (term: string, input: string): OarlockError =>
  new OarlockError("RL_INPUT_MISSING", `the objective has a term of ${term}: it needs ${input}`);

const isPositive = (coefficient: number | Value = 0): boolean =>
  typeof coefficient !== "number" || coefficient > 0;

/** policy loss + β · KL − c · entropy, leaving out what is weighted 0. */
function withRegularisers(
  sums: GrpoSums,
  { klCoefficient = 0, entropyCoefficient = 0 }: GrpoLossSettings,
): Value {
  const { policyLoss, refKl, entropy } = sums;
  const anchored =
    refKl && isPositive(klCoefficient) ? add(policyLoss, mul(refKl, klCoefficient)) : policyLoss;
  return entropy && entropyCoefficient > 0 ? sub(anchored, mul(entropy, entropyCoefficient)) : anchored;
}

interface Surrogate {
  readonly loss: Value;
  /** bool: the clipped term was the smaller one. */
  readonly clipped: Value;
  /** bool: the dual clip's bound was reached. */
  readonly cut?: Value;
}

function clippedSurrogate(ratio: Value, advantages: Value, { low, high, dual = 0 }: ClipBounds): Surrogate {
  const free = mul(ratio, advantages);
  const bounded = mul(clip(ratio, 1 - low, 1 + high), advantages);
  const gain = min(free, bounded);
  const clipped = less(bounded, free);
  if (dual <= 0) return { loss: neg(gain), clipped };
  const floor = mul(advantages, dual);
  const negative = less(advantages, 0);
  return {
    loss: neg(where(negative, max(gain, floor), gain)),
    clipped,
    cut: and(negative, greater(floor, gain)),
  };
}
