/** Which things outside the run file a run reads: data blocks, functions and reward models, by their path in the spec. Pure. */
import type { ResolvedData, ResolvedPtx, ResolvedReward, ResolvedSpec } from "../resolved.ts";
import { blockOf, isStageResult, modelsOf, rolloutsOf } from "../stage-parts.ts";
import type { StageType } from "../vocabulary.ts";

/** One source of rows and what it is for. */
export interface DataUse {
  /** E.g. `stages.0.sft.data`. */
  readonly path: string;
  readonly data: ResolvedData;
  readonly purpose: StageType | "evaluation";
  /** Of labelled steps: what stands between two of them. */
  readonly stepEnd?: string;
  /** Tokens of a row at most, where longer rows are left out. */
  readonly maxLength?: number;
}

/** Every data block, stages in order, the evaluation last. */
export function dataUses(spec: ResolvedSpec): DataUse[] {
  const ofStages = spec.stages.flatMap((stage, index): DataUse[] => [
    {
      path: `stages.${index}.${stage.type}.data`,
      data: blockOf(stage).data,
      purpose: stage.type,
      ...(stage.type === "reward-model" && stage["reward-model"].stepEnd !== undefined
        ? { stepEnd: stage["reward-model"].stepEnd }
        : {}),
      ...(stage.type === "sft" ? { maxLength: stage.sft.maxLength } : {}),
      ...(stage.type === "reward-model" ? { maxLength: stage["reward-model"].maxLength } : {}),
    },
    // Rows that are mixed in are demonstrations.
    ...(stage.type === "ppo" && stage.ppo.ptx !== undefined
      ? [mixedIn(`stages.${index}.ppo.ptx.data`, stage.ppo.ptx)]
      : []),
  ]);
  const { evaluation } = spec;
  if (evaluation === undefined) return ofStages;
  return [...ofStages, { path: "evaluation.data", data: evaluation.data, purpose: "evaluation" }];
}

const mixedIn = (path: string, { data, maxLength }: ResolvedPtx): DataUse => ({
  path,
  data,
  purpose: "sft",
  maxLength,
});

/** One reward of type `function`. */
export interface FunctionUse {
  /** E.g. `stages.1.grpo.rewards.0`. */
  readonly path: string;
  /** Of the reward. */
  readonly name: string;
  readonly file: string;
  readonly export: string;
}

/** A reward of a stage or of the evaluation, which takes those of a stage over where it names none. */
interface RewardUse {
  readonly path: string;
  readonly reward: ResolvedReward;
}

function rewardUses({ stages, evaluation }: ResolvedSpec): RewardUse[] {
  const within = (rewards: readonly ResolvedReward[] = [], path: string): RewardUse[] =>
    rewards.map((reward, index) => ({ path: `${path}.${index}`, reward }));
  const ofStages = stages.flatMap((stage, index) =>
    within(rolloutsOf(stage)?.rewards, `stages.${index}.${stage.type}.rewards`),
  );
  return [...ofStages, ...within(evaluation?.rewards, "evaluation.rewards")];
}

/** Every reward of type `function`. */
export function functionUses(spec: ResolvedSpec): FunctionUse[] {
  return rewardUses(spec).flatMap(({ path, reward }) =>
    reward.type === "function" ? [{ path, name: reward.name, ...reward.function }] : [],
  );
}

/** A reward model that the run reads and does not train. */
export interface ScorerUse {
  /** E.g. `stages.1.ppo.rewards.0.model.from`. */
  readonly path: string;
  readonly from: string;
}

/** Every place that names one. */
export function scorerUses(spec: ResolvedSpec): ScorerUse[] {
  return rewardUses(spec).flatMap(({ path, reward }) =>
    modelsOf(reward).flatMap(({ path: below, from }) =>
      isStageResult(from) ? [] : [{ path: [path, ...below].join("."), from }],
    ),
  );
}
