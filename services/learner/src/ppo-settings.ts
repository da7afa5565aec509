/** What of a rollout stage's plan decides what has to be computed. Pure. */
import type { ResolvedRollouts } from "@oarlock/runfile";

/** Whether a stage compares with the policy of its start. */
export function needsReference({ kl }: Pick<ResolvedRollouts, "kl">): boolean {
  return kl.placement !== "none" && kl.coefficient !== 0;
}
