/**
 * Scorers are pinned: a score counts only by the version that its group was issued with (W2). Another one would make the batch a
 * function of more than the plan and its replacements (D1).
 */
import { OarlockError } from "@oarlock/errors";
import type { Trajectory } from "@oarlock/proto";
import type { Pins } from "./settle-versions.ts";

/** Throws `SCORER_VERSION` where a score was given by another version than the pinned one. A failure has no version (S1). */
export function checkPins(trajectories: readonly Trajectory[], pins: Pins): void {
  for (const { rewards, group } of trajectories) {
    for (const { name, scorerVersion, verdict } of rewards) {
      const pinned = pins.get(name);
      if (pinned === undefined || verdict.case !== "scored" || scorerVersion === pinned) continue;
      throw new OarlockError(
        "SCORER_VERSION",
        `scorer ${name} scored with ${scorerVersion}; accepted in step ${(group?.step ?? 0) + 1}: ${pinned}`,
      );
    }
  }
}
