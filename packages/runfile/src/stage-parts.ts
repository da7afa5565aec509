/** Questions about a stage that do not depend on what it is: its block, its data, its rollouts, its start. Pure. */
import type { ComputedBy } from "./vocabulary.ts";
import type {
  ModelShape,
  ResolvedData,
  ResolvedReward,
  ResolvedRollouts,
  ResolvedSpec,
  ResolvedStage,
  ResolvedStart,
  ResolvedUntil,
  RunInputs,
} from "./resolved.ts";

/** What every stage's block has. */
export interface StageBlock {
  readonly model: ResolvedStart;
  readonly data: ResolvedData;
  readonly steps: number;
}

/** The block that the stage's type names. */
export function blockOf(stage: ResolvedStage): StageBlock {
  if (stage.type === "sft") return stage.sft;
  return stage.type === "reward-model" ? stage["reward-model"] : rolloutBlock(stage);
}

const rolloutBlock = (stage: Extract<ResolvedStage, { type: "grpo" | "ppo" }>): ResolvedRollouts =>
  stage.type === "grpo" ? stage.grpo : stage.ppo;

/** What ends the stage before its last step, if anything is to. */
export function untilOf(stage: ResolvedStage): ResolvedUntil | undefined {
  return stage.type === "sft" ? stage.sft.until : rolloutsOf(stage)?.until;
}

/** What a stage samples; undefined for one that learns from data alone. */
export function rolloutsOf(stage: ResolvedStage | undefined): ResolvedRollouts | undefined {
  return stage?.type === "grpo" || stage?.type === "ppo" ? rolloutBlock(stage) : undefined;
}

/** Whether anything compares with the policy of the stage's start: what is learned, or a guard. */
export function usesReference({ kl, guards }: Pick<ResolvedRollouts, "kl" | "guards">): boolean {
  return kl.placement !== "none" && (kl.coefficient !== 0 || guards.length > 0);
}

/** Who computes the log-probs of the policy of the stage's start; undefined where nobody compares with it. */
export function referenceBy(stage: ResolvedStage | undefined): ComputedBy | undefined {
  const rollouts = rolloutsOf(stage);
  if (rollouts === undefined || !usesReference(rollouts)) return undefined;
  return rollouts.reference?.computedBy ?? "learner";
}

/** Who computes the values of a stage's samples; undefined for one without a critic. */
export function valuesBy(stage: ResolvedStage | undefined): ComputedBy | undefined {
  return stage?.type === "ppo" ? (stage.ppo.critic.computedBy ?? "learner") : undefined;
}

/** Whether what the stage trains is the policy. */
export function trainsPolicy({ type }: Pick<ResolvedStage, "type">): boolean {
  return type !== "reward-model";
}

/** The reference to a stage's result. */
export function stageResult({ name }: Pick<ResolvedStage, "name">): string {
  return `stage/${name}`;
}

/** The index of the stage that a reference names; undefined for the run's own model and for names that nothing has. */
export function referencedStage(
  stages: readonly Pick<ResolvedStage, "name">[],
  from: string,
): number | undefined {
  const index = stages.findIndex((stage) => stageResult(stage) === from);
  return index < 0 ? undefined : index;
}

/** The policy as it stands before the stage of that index: the result of the last stage that trained it, or the run's model. */
export function policyBefore(stages: readonly ResolvedStage[], index: number): string {
  const last = stages.slice(0, index).findLast(trainsPolicy);
  return last === undefined ? "model" : stageResult(last);
}

/** Whether a stage's policy is another one than the policy before it. */
export function restartsPolicy(stages: readonly ResolvedStage[], index: number): boolean {
  const stage = stages[index];
  return (
    stage !== undefined && trainsPolicy(stage) && blockOf(stage).model.from !== policyBefore(stages, index)
  );
}

/** The rewards of every stage and of the evaluation. */
export function rewardsOf({ stages, evaluation }: ResolvedSpec): ResolvedReward[] {
  const ofStages = stages.flatMap((stage) => rolloutsOf(stage)?.rewards ?? []);
  return [...ofStages, ...(evaluation?.rewards ?? [])];
}

/** Tokens of the longest sequence that a stage or the evaluation may make, prompt and completion together; 0 where none is made. */
export function longestGenerated({ stages, evaluation }: ResolvedSpec): number {
  const ofStages = stages.map((stage) => {
    const rollouts = rolloutsOf(stage);
    return rollouts === undefined ? 0 : rollouts.maxPromptLength + rollouts.sampling.maxNewTokens;
  });
  const evaluated = evaluation === undefined ? 0 : evaluation.maxPromptLength + evaluation.maxNewTokens;
  return Math.max(evaluated, ...ofStages);
}

/** Whether a reference is to what a stage makes. */
export function isStageResult(from: string): boolean {
  return from.startsWith("stage/");
}

/** The reward models that a run reads and does not train, each once, in the order in which rewards name them. */
export function scorersRead(spec: ResolvedSpec): readonly string[] {
  const all = rewardsOf(spec).flatMap((reward) => modelsOf(reward).map(({ from }) => from));
  return [...new Set(all)].filter((from) => !isStageResult(from));
}

/** The number of a reward model among all that the run may score with: its stage's, and of those that are read, after all stages. */
export function scorerNumber(spec: ResolvedSpec, from: string): number {
  const { stages } = spec;
  return referencedStage(stages, from) ?? stages.length + scorersRead(spec).indexOf(from);
}

/** The dimensions of a reward model: the policy's, where the run trains it. */
export function scorerShape(
  { model, scorers }: { readonly model: Pick<RunInputs["model"], "shape"> } & Pick<RunInputs, "scorers">,
  from: string,
): ModelShape {
  return scorers?.find((one) => one.from === from)?.shape ?? model.shape;
}

/** The reward models that a reward scores with, with the fields of the reward that name them. */
export function modelsOf(
  reward: ResolvedReward,
): { readonly path: readonly (string | number)[]; readonly from: string }[] {
  if (reward.type === "model") return [{ path: ["model", "from"], from: reward.model.from }];
  if (reward.type !== "ensemble") return [];
  return reward.ensemble.from.map((from, member) => ({ path: ["ensemble", "from", member], from }));
}

/** Every reference of a stage to the results of others, with the fields that hold them. */
export function referencesOf(
  stage: ResolvedStage,
): { readonly path: readonly (string | number)[]; readonly from: string }[] {
  const block = [stage.type];
  const rewards = (rolloutsOf(stage)?.rewards ?? []).flatMap((reward, index) =>
    modelsOf(reward).map(({ path, from }) => ({ path: [...block, "rewards", index, ...path], from })),
  );
  return [
    { path: [...block, "model", "from"], from: blockOf(stage).model.from },
    ...(stage.type === "ppo" && stage.ppo.critic.network === "own"
      ? [{ path: [...block, "critic", "from"], from: stage.ppo.critic.from }]
      : []),
    ...rewards,
  ];
}
