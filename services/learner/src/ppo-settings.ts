/** What of a rollout stage's plan decides what has to be computed. Pure. */
import type { ResolvedRollouts } from "@oarlock/runfile";

/** Whether a stage compares with the policy of its start: in what it learns, or for its guards. */
export function needsReference({ kl, guards }: Pick<ResolvedRollouts, "kl" | "guards">): boolean {
  return kl.placement !== "none" && (kl.coefficient !== 0 || guards.length > 0);
}
