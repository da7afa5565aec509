/** Which things outside the run file a run reads: data blocks and functions, by their path in the spec. Pure. */
import type { ResolvedData, ResolvedReward, ResolvedSpec } from "../resolved.ts";
import { blockOf, rolloutsOf } from "../stage-parts.ts";
import type { StageType } from "../vocabulary.ts";

/** One source of rows and what it is for. */
export interface DataUse {
  /** E.g. `stages.0.sft.data`. */
  readonly path: string;
  readonly data: ResolvedData;
  readonly purpose: StageType | "evaluation";
  /** Of labelled steps: what stands between two of them. */
  readonly stepEnd?: string;
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
    },
    // Rows that are mixed in are demonstrations.
    ...(stage.type === "ppo" && stage.ppo.ptx !== undefined
      ? [{ path: `stages.${index}.ppo.ptx.data`, data: stage.ppo.ptx.data, purpose: "sft" } as const]
      : []),
  ]);
  const { evaluation } = spec;
  if (evaluation === undefined) return ofStages;
  return [...ofStages, { path: "evaluation.data", data: evaluation.data, purpose: "evaluation" }];
}

/** One reward of type `function`. */
export interface FunctionUse {
  /** E.g. `stages.1.grpo.rewards.0`. */
  readonly path: string;
  /** Of the reward. */
  readonly name: string;
  readonly file: string;
  readonly export: string;
}

/** Every reward of type `function`; those that the evaluation takes over from a stage appear once more, under it. */
export function functionUses(spec: ResolvedSpec): FunctionUse[] {
  const ofStages = spec.stages.flatMap((stage, index) =>
    functionsOf(rolloutsOf(stage)?.rewards ?? [], `stages.${index}.${stage.type}.rewards`),
  );
  return [...ofStages, ...functionsOf(spec.evaluation?.rewards ?? [], "evaluation.rewards")];
}

function functionsOf(rewards: readonly ResolvedReward[], path: string): FunctionUse[] {
  return rewards.flatMap((reward, index) =>
    reward.type === "function" ? [{ path: `${path}.${index}`, name: reward.name, ...reward.function }] : [],
  );
}
