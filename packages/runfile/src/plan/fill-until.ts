/** Fills what ends a stage early. Only where it is asked for: a plan without it is the plan that it was. */
import type { ResolvedUntil } from "../resolved.ts";
import type { UntilSpec } from "../run-file.ts";
import type { Scope } from "./origins.ts";

export function fillUntil(
  until: UntilSpec | undefined,
  at: Scope,
): { readonly until: ResolvedUntil } | undefined {
  if (until === undefined) return undefined;
  const inside = at.inside("until");
  return {
    until: {
      score: inside.fill("score", until.score, "mean"),
      atLeast: inside.given("atLeast", until.atLeast),
    },
  };
}
