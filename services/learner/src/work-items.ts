/**
 * What a work item says: prompt, sampling, stop tokens and scorers' versions of a group, from its identity, the plan and the
 * replacements alone (D1).
 */
import { RolloutPurpose } from "@oarlock/proto";
import type { RolloutWork, Trajectory } from "@oarlock/proto";
import type { WorkItem } from "@oarlock/run";
import { rolloutsOf } from "@oarlock/runfile";
import type { ResolvedReward, ResolvedRun } from "@oarlock/runfile";
import { OarlockError } from "@oarlock/errors";
import { stageAt } from "./context.ts";
import { workMessage } from "./messages.ts";
import type { ScoredExpectation } from "./messages.ts";
import { dataOrder } from "./order.ts";
import type { DataOrder } from "./order.ts";
import { evaluationGroup, evaluationSampling } from "./plan.ts";
import type { SamplingPlan } from "./plan.ts";
import type { PromptRow, RunData } from "./ports.ts";
import type { ScorerVersions } from "./scorer-versions.ts";
import { sampleReward } from "./sample-reward.ts";

export interface Describer extends Pick<ScoredExpectation, "isScored"> {
  /** The message of a work item. */
  readonly describe: (item: WorkItem) => RolloutWork;
}

/** Describes the work of one run. */
export function createDescriber(options: {
  readonly run: ResolvedRun;
  readonly data: RunData;
  readonly incarnation: number;
  readonly versions: Pick<ScorerVersions, "pinsOf">;
  readonly models: Pick<ScoredExpectation, "referenceOf" | "criticOf">;
}): Describer {
  const { run, data, incarnation, versions, models } = options;
  const { seed, evaluation } = run.spec;
  const orders = new Map<number, DataOrder>();

  const rollout = (item: WorkItem): { prompt: PromptRow | undefined; sampling: SamplingPlan } => {
    const { stage: index, step, group } = item.identity;
    const stage = stageAt(run, index);
    const rollouts = rolloutsOf(stage);
    if (rollouts === undefined) throw new OarlockError("WORK_UNKNOWN", `stage ${index} has no rollouts`);
    const prompts = data.prompts(index);
    const { promptsPerStep, sampling } = rollouts;
    const order =
      orders.get(index) ?? dataOrder({ seed, stage: index, count: prompts.length, perStep: promptsPerStep });
    orders.set(index, order);
    return { prompt: prompts[order.rowsOf(step)[group] ?? 0], sampling };
  };

  const evaluated = (item: WorkItem): { prompt: PromptRow | undefined; sampling: SamplingPlan } => {
    if (evaluation === undefined) throw new OarlockError("WORK_UNKNOWN", "the plan has no evaluation");
    const { promptIndex, greedy } = evaluationGroup(evaluation, data.evaluation.length, item.identity.group);
    return { prompt: data.evaluation[promptIndex], sampling: evaluationSampling(evaluation, greedy) };
  };

  const scorersOf = (trajectory: Trajectory): readonly ResolvedReward[] => {
    if (trajectory.purpose === RolloutPurpose.EVALUATION) return evaluation?.rewards ?? [];
    const stage = run.spec.stages[trajectory.group?.stage ?? -1];
    return rolloutsOf(stage)?.rewards ?? [];
  };

  return {
    describe(item) {
      const { purpose, stage } = item.identity;
      const { prompt, sampling } = purpose === "rollout" ? rollout(item) : evaluated(item);
      if (prompt === undefined) {
        throw new OarlockError("WORK_UNKNOWN", `no prompt for group ${item.identity.group}`);
      }
      const { stopTokens } = data;
      return workMessage(item, {
        incarnation,
        seed,
        prompt,
        sampling,
        reference: purpose === "rollout" ? models.referenceOf(stage) : undefined,
        critic: purpose === "rollout" ? models.criticOf(stage, item.policy.number) : undefined,
        stopTokens,
        fingerprintDigest: run.digest,
        pins: versions.pinsOf(item.identity),
      });
    },
    isScored: (trajectory) => sampleReward(trajectory, scorersOf(trajectory)).total !== undefined,
  };
}
