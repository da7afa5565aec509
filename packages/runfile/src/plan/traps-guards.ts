/** Traps in guards and gold scorers: what could never fire, always fires, or would train on what it is measured by. */
import type { Path } from "../problem.ts";
import type { ResolvedGuard, ResolvedPpo, ResolvedRollouts } from "../resolved.ts";
import { type Trap, trapWhen } from "./trap.ts";

/** The limits that make sense, by type: above the first number, below the second. */
const RANGES: { readonly [T in ResolvedGuard["watch"]]: readonly [number, number] } = {
  "reward-hacking": [0, Number.POSITIVE_INFINITY],
  kl: [0, Number.POSITIVE_INFINITY],
  entropy: [0, 1],
  "value-loss": [1, Number.POSITIVE_INFINITY],
  length: [1, Number.POSITIVE_INFINITY],
  "rejected-updates": [0, 1],
};

const rangeText = ([low, high]: readonly [number, number]): string =>
  Number.isFinite(high) ? `above ${low} and below ${high}` : `above ${low}`;

function guardTraps(guard: ResolvedGuard, stage: ResolvedRollouts | ResolvedPpo, path: Path): Trap[] {
  const { watch, reaction, limit, gold } = guard;
  const held = stage.rewards.filter(({ heldOut }) => heldOut).map(({ name }) => name);
  const [low, high] = RANGES[watch];
  const { placement, coefficient } = stage.kl;
  return [
    ...trapWhen(limit <= low || limit >= high, () => ({
      code: "GUARD_LIMIT",
      path: [...path, "limit"],
      message: `a guard that watches ${watch} with this limit would always fire or never`,
      value: String(limit),
      accepted: rangeText([low, high]),
    })),
    ...trapWhen(watch === "reward-hacking" && !held.includes(gold), () => ({
      code: "GUARD_GOLD_UNKNOWN",
      path: [...path, "gold"],
      message: "compares with a gold scorer, and no held-out reward of the stage has this name",
      value: JSON.stringify(gold),
      accepted: held.length > 0 ? held.join(", ") : "the name of a reward with heldOut: true",
    })),
    ...trapWhen(watch !== "reward-hacking" && gold !== "", () => ({
      code: "GUARD_GOLD_UNUSED",
      path: [...path, "gold"],
      message: `a guard that watches ${watch} asks no scorer`,
      value: JSON.stringify(gold),
      accepted: "no gold, or watch: reward-hacking",
    })),
    ...trapWhen(watch === "kl" && placement === "none", () => ({
      code: "GUARD_WITHOUT_REFERENCE",
      path: [...path, "watch"],
      message: "without a placement of the KL there is no reference to be far from",
      value: "kl",
      accepted: "kl: {placement: loss} (with coefficient 0 it is only measured)",
    })),
    ...trapWhen(watch === "value-loss" && !("critic" in stage), () => ({
      code: "GUARD_WITHOUT_CRITIC",
      path: [...path, "watch"],
      message: "this stage has no critic",
      value: "value-loss",
      accepted: "a stage of type ppo, or watch: something else",
    })),
    ...trapWhen(reaction === "raise-beta" && (placement === "none" || coefficient === 0), () => ({
      code: "GUARD_WITHOUT_BETA",
      path: [...path, "reaction"],
      message: "there is no KL coefficient that could be raised",
      value: "raise-beta",
      accepted: "kl with a placement and a coefficient above 0, or reaction: stop or roll-back",
    })),
  ];
}

/** Checks of the guards and the gold scorers of one stage. */
export function guards(stage: ResolvedRollouts, path: Path): Trap[] {
  return [
    ...stage.guards.flatMap((guard, index) => guardTraps(guard, stage, [...path, "guards", index])),
    ...stage.rewards.flatMap(({ heldOut, weight, name }, index) =>
      trapWhen(heldOut && weight !== 0, () => ({
        code: "HELD_OUT_TRAINED_ON",
        path: [...path, "rewards", index, "weight"],
        message: `reward '${name}' is held out: with a weight it would be trained on`,
        value: String(weight),
        accepted: "weight: 0 (or none), or heldOut: false",
      })),
    ),
  ];
}
