/** Fills the defaults of a PPO stage: TRL's passes and lambda, InstructGPT's KL in the reward, a critic that is the reward model. */
import type { ResolvedCritic, ResolvedPpo, ResolvedPpoKl, ResolvedPtx, ResolvedStart } from "../resolved.ts";
import type { CriticSpec, PpoKlSpec, PpoSpec, PtxSpec } from "../run-file.ts";
import { stageResult } from "../stage-parts.ts";
import { fillData } from "./fill-data.ts";
import { computedByActors, fillKl, fillRollouts } from "./fill-rollouts.ts";
import type { Scope } from "./origins.ts";
import {
  bySize,
  fillOptimizer,
  lengthFor,
  MOST_LENGTH,
  positions,
  type RowContext,
  warmUp,
} from "./stage-defaults.ts";

export function fillPpo(ppo: PpoSpec, at: Scope, context: RowContext): ResolvedPpo {
  const miniBatches = at.fill("miniBatches", ppo.miniBatches, 1);
  const rollouts = fillRollouts(ppo, at, {
    ...context,
    groupSize: 1,
    epochs: 4,
    miniBatches,
    aggregation: "token-mean-global",
    learningRate: bySize(context, [1e-4, 5e-5, 1e-6]),
  });
  return {
    ...rollouts,
    miniBatches,
    gamma: at.fill("gamma", ppo.gamma, 1),
    lambda: at.fill("lambda", ppo.lambda, 0.95),
    rewardClip: at.fill("rewardClip", ppo.rewardClip, 10),
    whitenRewards: at.fill("whitenRewards", ppo.whitenRewards, false),
    whitenAdvantages: at.fill("whitenAdvantages", ppo.whitenAdvantages, true),
    maxKl: at.fill("maxKl", ppo.maxKl, 0),
    kl: fillPpoKl(ppo.kl, at.inside("kl")),
    critic: fillCritic(ppo.critic, at.inside("critic"), {
      ...context,
      policy: rollouts.model,
      steps: rollouts.steps,
    }),
    ...(ppo.ptx === undefined ? {} : { ptx: fillPtx(ppo.ptx, at.inside("ptx"), context) }),
  };
}

const PTX_BATCH = 16;

function fillPtx(ptx: PtxSpec, at: Scope, context: RowContext): ResolvedPtx {
  const longest = context.longest?.get(`stages.${context.before.length}.ppo.ptx.data`) ?? 0;
  const length = Math.max(2, lengthFor(longest, Math.min(MOST_LENGTH, positions(context))));
  return {
    data: fillData(ptx.data, at.inside("data")),
    coefficient: at.given("coefficient", ptx.coefficient),
    batchSize: at.fill("batchSize", ptx.batchSize, PTX_BATCH),
    maxLength: at.derive("maxLength", ptx.maxLength, length, "the longest row and the model's positions"),
    mask: at.fill("mask", ptx.mask, "completion"),
  };
}

const KL_DEFAULTS = { placement: "reward", coefficient: { none: 0, loss: 0.05, reward: 0.05 } } as const;

function fillPpoKl(kl: PpoKlSpec | undefined, at: Scope): ResolvedPpoKl {
  return {
    ...fillKl(kl, at, KL_DEFAULTS),
    controller: at.fill("controller", kl?.controller, "fixed"),
    target: at.fill("target", kl?.target, 6),
    horizon: at.fill("horizon", kl?.horizon, 10_000),
  };
}

interface CriticContext extends RowContext {
  readonly policy: ResolvedStart;
  readonly steps: number;
}

function fillCritic(critic: CriticSpec | undefined, at: Scope, context: CriticContext): ResolvedCritic {
  const scorer = context.before.findLast(({ type }) => type === "reward-model");
  const from = scorer === undefined ? context.policy.from : stageResult(scorer);
  return {
    network: at.fill("network", critic?.network, "own"),
    coefficient: at.fill("coefficient", critic?.coefficient, 0.1),
    from: at.derive("from", critic?.from, from, "the last reward model, else the policy"),
    clip: at.fill("clip", critic?.clip, 0.2),
    warmupSteps: at.fill("warmupSteps", critic?.warmupSteps, 0),
    ...computedByActors(critic, at),
    optimizer: fillOptimizer(critic?.optimizer, at.inside("optimizer"), {
      learningRate: bySize(context, [3e-4, 1e-4, 1e-5]),
      warmupSteps: warmUp(Math.min(10, context.steps / 10), context.steps),
      schedule: "constant",
    }),
  };
}
