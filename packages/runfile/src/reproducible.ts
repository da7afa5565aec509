/** Whether another run of a plan gives the same bits (D1c). Pure. */
import type { ResolvedReward, ResolvedSpec } from "./resolved.ts";
import { rolloutsOf, untilOf } from "./stage-parts.ts";

/** Why it may not; undefined where it does. Scorers that only observe decide nothing. */
export function irreproducibleBecause(
  spec: Pick<ResolvedSpec, "stages" | "pipeline" | "evaluation">,
): string | undefined {
  if (spec.pipeline.mode === "streaming") {
    return "in streaming mode the order of arrival decides what is trained together";
  }
  const ofStages = spec.stages.flatMap((stage) =>
    undeclared(rolloutsOf(stage)?.rewards ?? [], `stage ${stage.name}`),
  );
  const named = [...ofStages, ...undeclaredOfEnds(spec)];
  if (named.length === 0) return undefined;
  return `not declared deterministic: ${[...new Set(named)].join(", ")}; the scores of another run may differ`;
}

/** Of the evaluation, where it may end a stage. */
function undeclaredOfEnds({ stages, evaluation }: Pick<ResolvedSpec, "stages" | "evaluation">): string[] {
  if (evaluation === undefined || stages.every((stage) => untilOf(stage) === undefined)) return [];
  return undeclared(evaluation.rewards, "evaluation", evaluation.metric);
}

/** Scorers that are not declared deterministic and decide something: they have a weight, or are the metric. */
function undeclared(rewards: readonly ResolvedReward[], where: string, metric?: string): string[] {
  return rewards.flatMap((reward) =>
    "service" in reward && !reward.service.deterministic && (reward.weight !== 0 || reward.name === metric)
      ? [`${reward.name} (${reward.type}, ${where})`]
      : [],
  );
}
