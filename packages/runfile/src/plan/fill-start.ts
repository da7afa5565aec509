/** Fills whose weights a stage starts from. */
import type { ResolvedStart } from "../resolved.ts";
import type { StartSpec } from "../run-file.ts";
import { policyBefore } from "../stage-parts.ts";
import type { Scope } from "./origins.ts";
import type { StageContext } from "./stage-defaults.ts";

export function fillStart(
  start: StartSpec | undefined,
  at: Scope,
  { before }: Pick<StageContext, "before">,
): ResolvedStart {
  const policy = policyBefore(before, before.length);
  return { from: at.inside("model").derive("from", start?.from, policy, "the policy before this stage") };
}
