/** Traps in the stages: batches that do not divide, estimators without a signal, sequences that do not fit. */
import type { Path } from "../problem.ts";
import type {
  ResolvedGrpo,
  ResolvedPpo,
  ResolvedReward,
  ResolvedRollouts,
  ResolvedSft,
} from "../resolved.ts";
import { usesReference } from "../stage-parts.ts";
import { guards } from "./traps-guards.ts";
import { rewardModel } from "./traps-reward-model.ts";
import { batch, optimizer, SFT_RATES, type StageCheck } from "./traps-training.ts";
import { type AllowableTrap, promptsTooLong, type Trap, type TrapCheck, trapWhen } from "./trap.ts";

/** As `SFT_RATES`, of stages that sample. */
const GRPO_RATES_TINY = [1e-8, 5e-4] as const;
const GRPO_RATES = [1e-8, 5e-5] as const;
/** Parameters up to which a model bears the rates of tiny ones. */
const TINY_PARAMETERS = 10e6;

const sft: StageCheck<ResolvedSft> = (stage, path, context) => [
  ...batch(stage.batchSize, "batchSize")(stage, path, context),
  ...optimizer(stage.optimizer, [...path, "optimizer"], SFT_RATES, stage.steps),
  ...trapWhen(stage.maxLength > context.shape.maxPositions, () => ({
    code: "CONTEXT_TOO_SHORT",
    path: [...path, "maxLength"],
    message: `the model holds ${context.shape.maxPositions} positions`,
    value: String(stage.maxLength),
    accepted: `at most ${context.shape.maxPositions}`,
  })),
];

const context: StageCheck<ResolvedRollouts> = (stage, path, { shape, facts }) => {
  const { maxPromptLength, sampling } = stage;
  const longest = facts.data.get(path.slice(1).concat("data").join("."))?.longestPrompt ?? 0;
  const room = shape.maxPositions - sampling.maxNewTokens;
  return [
    ...trapWhen(maxPromptLength + sampling.maxNewTokens > shape.maxPositions, () => ({
      code: "CONTEXT_TOO_SHORT",
      path: [...path, "sampling", "maxNewTokens"],
      message: `prompts of ${maxPromptLength} and completions of ${sampling.maxNewTokens} tokens do not fit ${shape.maxPositions} positions`,
      value: String(sampling.maxNewTokens),
      accepted: `at most ${Math.max(1, shape.maxPositions - maxPromptLength)}, or maxPromptLength of at most ${Math.max(1, room)}`,
    })),
    ...trapWhen(longest > maxPromptLength, () => promptsTooLong(path, { longest, maxPromptLength, room })),
  ];
};

const sampling: StageCheck<ResolvedRollouts> = ({ sampling: { temperature, topK, topP } }, path) => [
  ...trapWhen(temperature === 0, () => ({
    code: "GREEDY_TRAINING",
    path: [...path, "sampling", "temperature"],
    message: "at temperature 0 all completions of a prompt are alike: no group has a signal",
    value: "0",
    accepted: "a temperature above 0; 1 samples the policy itself",
  })),
  ...trapWhen(topK > 0 || topP < 1, (): AllowableTrap => ({
    code: "TRUNCATED_SAMPLING",
    path: [...path, "sampling", topK > 0 ? "topK" : "topP"],
    message:
      "training on truncated samples is off-policy: tokens that were cut off still get probability in the loss",
    value: String(topK > 0 ? topK : topP),
    accepted: "topK: 0 and topP: 1, or allow: [TRUNCATED_SAMPLING]",
  })),
];

const group: StageCheck<ResolvedGrpo> = ({ groupSize }, path) =>
  trapWhen(groupSize < 2, () => ({
    code: "GROUP_TOO_SMALL",
    path: [...path, "groupSize"],
    message: "a group of one has advantage 0: nothing would be learned",
    value: String(groupSize),
    accepted: "at least 2; 8 to 16 are usual",
  }));

const estimator: StageCheck<ResolvedRollouts> = (stage, path) => [
  ...trapWhen(stage.epochs > 8, (): AllowableTrap => ({
    code: "EPOCHS_MANY",
    path: [...path, "epochs"],
    message: "so many passes over one batch leave the policy that sampled it",
    value: String(stage.epochs),
    accepted: "1 to 4, or allow: [EPOCHS_MANY]",
  })),
  ...trapWhen(stage.dualClip !== 0 && stage.dualClip <= 1 + stage.clip.high, () => ({
    code: "DUAL_CLIP_TOO_LOW",
    path: [...path, "dualClip"],
    message: `the dual clip bounds ratios that the clip (1 + ${stage.clip.high}) has bounded already`,
    value: String(stage.dualClip),
    accepted: `0 (off), or more than ${1 + stage.clip.high}; 3 is usual`,
  })),
];

const kl: StageCheck<ResolvedRollouts> = (stage, path) => klTraps(stage.kl, path, stage.guards.length > 0);

/** With guards, a coefficient of 0 measures the KL that they look at. */
const klTraps = (
  { placement, estimator: kind, coefficient }: ResolvedRollouts["kl"],
  path: Path,
  isGuarded: boolean,
): Trap[] => [
  ...trapWhen(placement !== "none" && coefficient === 0 && !isGuarded, () => ({
    code: "KL_WITHOUT_EFFECT",
    path: [...path, "kl", "coefficient"],
    message: "a coefficient of 0 loads a reference policy for nothing",
    value: "0",
    accepted: "a coefficient above 0, or placement: none",
  })),
  ...trapWhen(placement === "none" && coefficient !== 0, () => ({
    code: "KL_WITHOUT_PLACEMENT",
    path: [...path, "kl", "placement"],
    message: `a coefficient of ${coefficient} has no effect without a placement`,
    value: "none",
    accepted: "placement: loss or reward, or no coefficient",
  })),
  ...trapWhen(placement === "loss" && kind === "k1", () => ({
    code: "KL_GRADIENT_ZERO",
    path: [...path, "kl", "estimator"],
    message: "the expected gradient of k1 in the loss is zero: it would not hold the policy",
    value: "k1",
    accepted: "k2 or k3 in the loss, k1 in the reward",
  })),
];

const reference: StageCheck<ResolvedRollouts> = (stage, path) =>
  trapWhen(stage.reference?.computedBy === "actors" && !usesReference(stage), () => ({
    code: "REFERENCE_WITHOUT_USE",
    path: [...path, "reference", "computedBy"],
    message: "nothing compares with the reference: there is no KL term",
    value: "actors",
    accepted: "no reference, or kl with a placement and a coefficient above 0",
  }));

const rewards: StageCheck<ResolvedRollouts> = (stage, path, { facts }) => {
  const { parts, partial = {} } = facts.data.get(path.slice(1).concat("data").join(".")) ?? {};
  return [
    ...trapWhen(
      stage.rewards.every(({ weight }) => weight === 0),
      () => ({
        code: "REWARDS_WITHOUT_WEIGHT",
        path: [...path, "rewards"],
        message: "every reward has weight 0: nothing would be learned",
        accepted: "at least one weight that is not 0",
      }),
    ),
    ...stage.rewards.flatMap((reward, index) => {
      const field = fieldOf(reward);
      return trapWhen(field !== undefined && parts !== undefined && !parts.includes(field), () => ({
        code: "REWARD_FIELD_MISSING",
        path: [...path, "rewards", index],
        message: `reward '${reward.name}' compares with '${field}', and ${whoLacks(partial, field)} no text or number of that name`,
        value: JSON.stringify(field),
        accepted: `one of ${parts?.join(", ")}, or data fields: {answer: <column>}`,
      }));
    }),
  ];
};

const whoLacks = (partial: Readonly<Record<string, string>>, field = ""): string =>
  Object.hasOwn(partial, field) ? `${partial[field]} has` : "the rows have";

/** The row's part that a verifier compares with, if it does. */
function fieldOf(reward: ResolvedReward): string | undefined {
  if (reward.type === "exact") return reward.exact.field;
  if (reward.type === "numeric") return reward.numeric.field;
  return reward.type === "contains" && reward.contains.text === "" ? reward.contains.field : undefined;
}

const rollouts: StageCheck<ResolvedRollouts> = (stage, path, outer) => [
  ...batch(stage.promptsPerStep * stage.groupSize, "promptsPerStep × groupSize")(stage, path, outer),
  ...optimizer(
    stage.optimizer,
    [...path, "optimizer"],
    outer.parameters < TINY_PARAMETERS ? GRPO_RATES_TINY : GRPO_RATES,
    stage.steps * stage.epochs,
  ),
  ...[context, sampling, estimator, kl, reference, rewards, guards].flatMap((check) =>
    check(stage, path, outer),
  ),
];

const ppo: StageCheck<ResolvedPpo> = (stage, path, outer) => {
  const { miniBatches, microBatchSize, promptsPerStep, groupSize, critic, steps } = stage;
  const sequences = promptsPerStep * groupSize;
  return [
    ...rollouts(stage, path, outer),
    ...trapWhen(sequences % (miniBatches * microBatchSize) !== 0, () => ({
      code: "BATCH_NOT_DIVISIBLE",
      path: [...path, "miniBatches"],
      message: `promptsPerStep × groupSize = ${sequences} sequences do not split into ${miniBatches} mini-batches of whole micro-batches of ${microBatchSize}`,
      value: String(miniBatches),
      accepted: `a divisor of ${Math.max(1, Math.floor(sequences / microBatchSize))}, or a smaller microBatchSize`,
    })),
    ...trapWhen((stage.ptx?.maxLength ?? 0) > outer.shape.maxPositions, () => ({
      code: "CONTEXT_TOO_SHORT",
      path: [...path, "ptx", "maxLength"],
      message: `the model holds ${outer.shape.maxPositions} positions`,
      value: String(stage.ptx?.maxLength),
      accepted: `at most ${outer.shape.maxPositions}`,
    })),
    ...optimizer(critic.optimizer, [...path, "critic", "optimizer"], SFT_RATES, steps),
    ...trapWhen(
      critic.computedBy === "actors" &&
        (critic.network === "trunk" || outer.spec.pipeline.mode === "streaming"),
      () => ({
        code: "VALUES_BY_ACTORS",
        path: [...path, "critic", "computedBy"],
        message:
          "actors compute values with a network beside each version of the policy: a head on its trunk is none, a stream keeps none",
        value: "actors",
        accepted: "computedBy: learner, or critic.network: own and pipeline.mode: lockstep",
      }),
    ),
    ...trapWhen(critic.warmupSteps >= steps, () => ({
      code: "CRITIC_WARMUP_TOO_LONG",
      path: [...path, "critic", "warmupSteps"],
      message: `the policy would never be trained: the stage has ${steps} steps`,
      value: String(critic.warmupSteps),
      accepted: `less than ${steps}`,
    })),
    ...trapWhen(
      stage.kl.controller === "adaptive" && (stage.kl.placement === "none" || stage.kl.target <= 0),
      () => ({
        code: "KL_CONTROLLER_WITHOUT_AIM",
        path: [...path, "kl", "controller"],
        message: "an adaptive controller steers a KL term to a target: it needs both",
        value: "adaptive",
        accepted: "placement: reward or loss with a target above 0, or controller: fixed",
      }),
    ),
  ];
};

/** Checks of every stage. */
export const stageTraps: TrapCheck = (outer) =>
  outer.spec.stages.flatMap((stage, index) => {
    const path = ["spec", "stages", index, stage.type];
    switch (stage.type) {
      case "sft":
        return sft(stage.sft, path, outer);
      case "reward-model":
        return rewardModel(stage[stage.type], path, outer);
      case "grpo":
        return [...rollouts(stage.grpo, path, outer), ...group(stage.grpo, path, outer)];
      case "ppo":
        return ppo(stage.ppo, path, outer);
    }
  });
