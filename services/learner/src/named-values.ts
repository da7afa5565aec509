/** The values that each named scorer gave in a batch, failures left out (S1). Pure. */
import type { ResolvedReward } from "@oarlock/runfile";
import type { JudgedSample } from "./grpo-batch.ts";

/** By metric: `reward/<name>`, or `gold/<name>` of those that are held out. */
export function namedValues(
  groups: readonly (readonly Pick<JudgedSample, "reward">[])[],
  rewards: readonly Pick<ResolvedReward, "name" | "heldOut">[],
): Readonly<Record<string, readonly number[]>> {
  const gold = new Set(rewards.flatMap(({ name, heldOut }) => (heldOut ? [name] : [])));
  const named: Record<string, number[]> = {};
  for (const { reward } of groups.flat()) {
    for (const [name, value] of Object.entries(reward.named)) {
      if (value === null) continue;
      (named[`${gold.has(name) ? "gold" : "reward"}/${name}`] ??= []).push(value);
    }
  }
  return named;
}
