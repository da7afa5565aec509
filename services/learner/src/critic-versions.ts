/**
 * The critic that goes with each version of the policy, where actors compute values: published under the policy's number before
 * work is issued for it, and kept as long. The critic of a step is then the one that its actors' policy had beside it.
 */
import { blockOf, valuesBy } from "@oarlock/runfile";
import { stageAt } from "./context.ts";
import type { LearnerParts, LearnerProgress } from "./context.ts";

/**
 * Queues the critic as it stands, as the one of the policy at the position; the promise within resolves when it is visible. Of a
 * stage whose last work is issued there is none.
 */
export async function publishCritic(
  parts: Pick<LearnerParts, "critics" | "run" | "scorer">,
  { position, current }: Pick<LearnerProgress, "position" | "current">,
): Promise<{ readonly visible: Promise<void> }> {
  const { stage: index, step, ended = false } = position;
  const stage = parts.run.spec.stages[index];
  if (parts.critics === undefined || ended || valuesBy(stage) !== "actors") {
    return { visible: Promise.resolve() };
  }
  const { steps } = blockOf(stageAt(parts.run, index));
  if (step >= steps) return { visible: Promise.resolve() };
  const { weights, digest } = await parts.scorer.get().policy();
  const served = { policy: { number: current.policy.number, digest }, weights };
  return { visible: parts.critics.publish(served, { stage: index, step }) };
}
