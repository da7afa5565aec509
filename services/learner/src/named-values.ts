/** The values that each named scorer gave in a batch, failures left out (S1). Pure. */
import type { JudgedSample } from "./grpo-batch.ts";

export function namedValues(
  groups: readonly (readonly Pick<JudgedSample, "reward">[])[],
): Readonly<Record<string, readonly number[]>> {
  const named: Record<string, number[]> = {};
  for (const { reward } of groups.flat()) {
    for (const [name, value] of Object.entries(reward.named)) {
      if (value !== null) (named[name] ??= []).push(value);
    }
  }
  return named;
}
