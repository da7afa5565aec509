/** Guards: when each fires, that it can be cut anywhere (T3), and that what the metrics lack is no alarm. */
import type { ResolvedGuard } from "@oarlock/runfile";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isGood, watchGuards } from "./guards.ts";
import type { Alarm, GuardState } from "./guards.ts";

type Metrics = Readonly<Record<string, number>>;

const guard = (of: Partial<ResolvedGuard> & Pick<ResolvedGuard, "watch" | "limit">): ResolvedGuard => ({
  name: "g",
  reaction: "roll-back",
  window: 2,
  gold: "",
  factor: 2,
  ...of,
});

/** All steps, one after another. */
function watch(guards: readonly ResolvedGuard[], steps: readonly Metrics[], from: GuardState = {}) {
  let state = from;
  const alarms: { step: number; alarm: Alarm }[] = [];
  const good: boolean[] = [];
  for (const [step, metrics] of steps.entries()) {
    const next = watchGuards(state, guards, metrics);
    state = next.state;
    alarms.push(...next.effects.map((alarm) => ({ step, alarm })));
    good.push(isGood(state, guards));
  }
  return { state, alarms, good };
}

const of = (name: string, values: readonly number[]): Metrics[] => values.map((value) => ({ [name]: value }));
const hacked = (pairs: readonly (readonly [number, number])[]): Metrics[] =>
  pairs.map(([proxy, gold]) => ({ "critic/score/mean": proxy, "gold/joy/mean": gold }));

describe("guards", () => {
  test.each([
    ["kl beyond its limit", guard({ watch: "kl", limit: 4 }), of("actor/kl_per_sample", [1, 3, 4.9, 5]), 3],
    ["kl below it", guard({ watch: "kl", limit: 6 }), of("actor/kl_per_sample", [1, 3, 4.9, 5]), undefined],
    [
      "entropy below a share of the start",
      guard({ watch: "entropy", limit: 0.5 }),
      of("actor/entropy", [2, 2, 1, 0.9]),
      3,
    ],
    [
      "entropy that rises",
      guard({ watch: "entropy", limit: 0.5 }),
      of("actor/entropy", [2, 2, 4, 9]),
      undefined,
    ],
    [
      "value loss times that of the start",
      guard({ watch: "value-loss", limit: 10 }),
      of("critic/vf_loss", [1, 1, 9, 12]),
      3,
    ],
    [
      "twice the length",
      guard({ watch: "length", limit: 2 }),
      of("response_length/mean", [10, 10, 20, 21]),
      3,
    ],
    ["half the length", guard({ watch: "length", limit: 2 }), of("response_length/mean", [10, 10, 5, 4]), 3],
    ["not finite, at once", guard({ watch: "value-loss", limit: 10 }), of("critic/vf_loss", [Number.NaN]), 0],
    [
      "gold falls while the reward rises",
      guard({ watch: "reward-hacking", limit: 0.1, gold: "joy" }),
      hacked([
        [1, 0.5],
        [2, 0.7],
        [3, 0.5],
        [4, 0.4],
        [5, 0.3],
      ]),
      3,
    ],
    [
      "gold falls with the reward",
      guard({ watch: "reward-hacking", limit: 0.1, gold: "joy" }),
      hacked([
        [3, 0.5],
        [4, 0.7],
        [3, 0.5],
        [2, 0.4],
        [1, 0.3],
      ]),
      undefined,
    ],
    [
      "W3: updates that were not finite, in half of the window",
      guard({ watch: "rejected-updates", limit: 0.4, window: 2 }),
      of("actor/update_rejected", [0, 0, 0, 1]),
      3,
    ],
    [
      "W3: an update of the critic that was not finite, at once",
      guard({ watch: "rejected-updates", limit: 0.5, window: 1 }),
      [0, 0, 1].map((rejected) => ({ "actor/update_rejected": 0, "critic/update_rejected": rejected })),
      2,
    ],
    [
      "W3: updates that were finite",
      guard({ watch: "rejected-updates", limit: 0.5, window: 1 }),
      of("actor/update_rejected", [0, 0, 0, 0]),
      undefined,
    ],
    [
      "metrics without its number",
      guard({ watch: "entropy", limit: 0.5 }),
      of("actor/loss", [1, 2, 3]),
      undefined,
    ],
  ] as const)("%s", (_, one, steps, expected) => {
    const { alarms } = watch([one], steps);
    expect(alarms[0]?.step).toBe(expected);
    if (expected !== undefined) expect(alarms[0]?.alarm.message).toMatch(/^g/);
  });

  test("an alarm says what was seen, and the next one needs a whole window", () => {
    const one = guard({ watch: "reward-hacking", limit: 0.1, gold: "joy", reaction: "raise-beta" });
    const { alarms } = watch(
      [one],
      hacked([
        [1, 0.5],
        [1, 0.5],
        [2, 0.2],
        [2, 0.2],
        [3, 0.1],
        [4, 0.1],
      ]),
    );
    expect(alarms.map(({ step }) => step)).toEqual([2, 4]);
    expect(alarms[0]?.alarm).toEqual({
      guard: "g",
      reaction: "raise-beta",
      message:
        "g: gold/joy/mean fell from 0.5 to 0.35 (limit 0.1, mean of 2 steps) while the reward rose from 1 to 1.5",
    });
  });

  test("a policy is good up to half the limit of the guards that roll back, and of no others", () => {
    const back = guard({ watch: "kl", limit: 4 });
    const stop = guard({ name: "s", watch: "kl", limit: 1e-3, reaction: "stop" });
    expect(watch([back, stop], of("actor/kl_per_sample", [1, 2, 2, 2.1])).good).toEqual([
      true,
      true,
      true,
      false,
    ]);
  });

  test("T3: state that went through JSON goes on as if nothing had happened", () => {
    const guards = [
      guard({ name: "a", watch: "entropy", limit: 0.5, window: 3 }),
      guard({ name: "b", watch: "reward-hacking", limit: 0.1, gold: "joy", reaction: "raise-beta" }),
    ];
    const number = fc.double({ min: 0, max: 2, noNaN: true });
    const step = fc.record({ "actor/entropy": number, "critic/score/mean": number, "gold/joy/mean": number });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 30 }), fc.nat(), (steps, at) => {
        const cut = at % steps.length;
        const whole = watch(guards, steps);
        const head = watch(guards, steps.slice(0, cut));
        // As a checkpoint keeps it.
        const kept: GuardState = JSON.parse(JSON.stringify(head.state));
        const tail = watch(guards, steps.slice(cut), kept);
        expect(tail.state).toEqual(whole.state);
        expect([...head.good, ...tail.good]).toEqual(whole.good);
        expect(head.alarms.length + tail.alarms.length).toBe(whole.alarms.length);
      }),
    );
  });
});
