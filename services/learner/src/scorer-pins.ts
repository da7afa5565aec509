/**
 * Reward models are pinned: a score counts only with the digest of the model that the stage's plan names (W2). Another one
 * would make the batch a function of more than the plan (D1).
 */
import { OarlockError } from "@oarlock/errors";
import type { Trajectory } from "@oarlock/proto";
import { modelsOf, referencedStage, rolloutsOf } from "@oarlock/runfile";
import { stageAt } from "./context.ts";
import type { LearnerParts, LearnerProgress } from "./context.ts";

/** The version that each model scorer of stage `index` must have, by the scorer's name. */
export function scorerPins(
  { run }: Pick<LearnerParts, "run">,
  { results }: Pick<LearnerProgress, "results">,
  index: number,
): ReadonlyMap<string, string> {
  const { stages } = run.spec;
  const pins = new Map<string, string>();
  for (const reward of rolloutsOf(stageAt(run, index))?.rewards ?? []) {
    // Of an ensemble: its members' digests, in order.
    const versions = modelsOf(reward).map(({ from }) => {
      const trained = stages[referencedStage(stages, from) ?? -1]?.name ?? "";
      return `sha256:${results[trained]?.digest ?? ""}`;
    });
    if (versions.length > 0) pins.set(reward.name, versions.join("+"));
  }
  return pins;
}

/** Throws `SCORER_VERSION` where a score was given by another model than the pinned one. A failure has no version (S1). */
export function checkPins(
  trajectories: readonly (readonly Trajectory[])[],
  pins: ReadonlyMap<string, string>,
): void {
  for (const { rewards } of trajectories.flat()) {
    for (const { name, scorerVersion, verdict } of rewards) {
      const pinned = pins.get(name);
      if (pinned === undefined || verdict.case !== "scored" || scorerVersion === pinned) continue;
      throw new OarlockError(
        "SCORER_VERSION",
        `scorer ${name} scored with ${scorerVersion}; accepted in this stage: ${pinned}`,
      );
    }
  }
}
