/** Whether another run of a plan gives the same bits (D1c). Pure. */
import type { ResolvedSpec } from "./resolved.ts";
import { rolloutsOf } from "./stage-parts.ts";

/** Why it may not; undefined where it does. Scorers that only observe decide nothing. */
export function irreproducibleBecause({
  stages,
  pipeline,
}: Pick<ResolvedSpec, "stages" | "pipeline">): string | undefined {
  if (pipeline.mode === "streaming") {
    return "in streaming mode the order of arrival decides what is trained together";
  }
  const named = stages.flatMap((stage) =>
    (rolloutsOf(stage)?.rewards ?? []).flatMap((reward) =>
      "service" in reward && !reward.service.deterministic && reward.weight !== 0
        ? [`${reward.name} (${reward.type}, stage ${stage.name})`]
        : [],
    ),
  );
  if (named.length === 0) return undefined;
  return `not declared deterministic: ${[...new Set(named)].join(", ")}; the scores of another run may differ`;
}
