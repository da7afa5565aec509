/** Fills the defaults of guards. */
import type { ResolvedGuard, ResolvedReward } from "../resolved.ts";
import type { GuardSpec } from "../run-file.ts";
import type { GuardType } from "../vocabulary.ts";
import type { Scope } from "./origins.ts";

/** In the units of `ResolvedGuard.limit`. */
const LIMITS: { readonly [T in GuardType]: number } = {
  "reward-hacking": 0.1,
  kl: 20,
  entropy: 0.2,
  "value-loss": 10,
  length: 2,
  "rejected-updates": 0.5,
};
const WINDOW_STEPS = 5;
const FACTOR = 2;

export function fillGuards(
  guards: readonly GuardSpec[],
  at: Scope,
  rewards: readonly ResolvedReward[],
): ResolvedGuard[] {
  const held = rewards.filter(({ heldOut }) => heldOut);
  const only = held.length === 1 ? (held[0]?.name ?? "") : "";
  return guards.map((guard, index) => {
    const inside = at.inside(index);
    const watch = inside.given("watch", guard.watch);
    const gold = watch === "reward-hacking" ? only : "";
    return {
      name: inside.given("name", guard.name),
      watch,
      reaction: inside.given("reaction", guard.reaction),
      limit: inside.derive("limit", guard.limit, LIMITS[watch], "what is watched"),
      window: inside.fill("window", guard.window, WINDOW_STEPS),
      gold: inside.derive("gold", guard.gold, gold, "the only held-out reward"),
      factor: inside.fill("factor", guard.factor, FACTOR),
    };
  });
}
