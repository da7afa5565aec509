/** Balanced scaling against a simulated fleet: it finds the number that keeps the learner busy, and then leaves it. */
import { describe, expect, it } from "vitest";
import { balanced } from "./balance.ts";
import { type Fleet, type FleetOptions, newFleet } from "./fleet.ts";
import { NO_PACE, notePace, type Pace } from "./pace.ts";

const LOOK_SECONDS = 2;

/** Numbers in [0, 1), the same in every run of the test. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
}

/** Two actors' worth of generation, unless a test says otherwise. */
const options: FleetOptions = {
  lag: 1,
  promptsPerStep: 16,
  groupSeconds: 1,
  trainSeconds: 8,
  rewardWorkers: 4,
  rewardSeconds: 0.05,
  startSeconds: 20,
  noise: 0.3,
  random: randomFrom(1),
};

/** Scales a fleet for so long; gives every number that it had. */
function balance(fleet: Fleet, seconds: number, bounds = { least: 1, most: 32 }): number[] {
  const counts = [fleet.look().wanted];
  let pace: Pace = NO_PACE;
  for (let at = 0; at < seconds; at += LOOK_SECONDS) {
    fleet.pass(LOOK_SECONDS);
    const look = fleet.look();
    pace = notePace(pace, look);
    const wanted = balanced(look.wanted, pace.demand, bounds);
    if (wanted !== look.wanted) {
      fleet.scale(wanted);
      counts.push(wanted);
    }
  }
  return counts;
}

describe("Balanced scaling", () => {
  it.each([
    ["from one", { start: 1, changes: {}, least: 2, most: 3 }],
    ["from too many", { start: 20, changes: {}, least: 2, most: 3 }],
    [
      "where generation dominates",
      { start: 1, changes: { groupSeconds: 6, trainSeconds: 8 }, least: 11, most: 16 },
    ],
    ["with more lag", { start: 1, changes: { lag: 3, groupSeconds: 3 }, least: 5, most: 8 }],
    ["where the learner dominates", { start: 6, changes: { trainSeconds: 40 }, least: 1, most: 1 }],
    [
      "with groups and updates of very unlike length",
      { start: 1, changes: { noise: 0.6, groupSeconds: 3 }, least: 5, most: 9 },
    ],
  ])("%s finds how many keep the learner busy, and stays there", (_, { start, changes, least, most }) => {
    const fleet = newFleet({ ...options, ...changes, random: randomFrom(7) }, start);
    const found = balance(fleet, 3_600);
    const last = found.at(-1) ?? 0;
    expect(last).toBeGreaterThanOrEqual(least);
    expect(last).toBeLessThanOrEqual(most);
    // Few decisions are enough from anywhere, and then an hour brings at most a few steps by one.
    expect(found.length, found.join()).toBeLessThanOrEqual(8);
    const then = balance(fleet, 3_600);
    expect(then.length, then.join()).toBeLessThanOrEqual(4);
  });

  it("loses little against a fleet of any size", () => {
    const most = newFleet({ ...options, groupSeconds: 6 }, 32);
    const scaled = newFleet({ ...options, groupSeconds: 6 }, 1);
    balance(scaled, 1_200);
    const before = scaled.steps();
    balance(scaled, 3_600);
    most.pass(3_600);
    expect(scaled.steps() - before).toBeGreaterThan(0.85 * most.steps());
  });

  it("follows a run whose answers grow longer", () => {
    const fleet = newFleet(options, 2);
    expect(balance(fleet, 1_800).at(-1)).toBeLessThanOrEqual(3);
    fleet.options = { ...options, groupSeconds: 4 };
    expect(balance(fleet, 3_600).at(-1)).toBeGreaterThanOrEqual(7);
    fleet.options = options;
    expect(balance(fleet, 3_600).at(-1)).toBeLessThanOrEqual(3);
  });

  it("asks for no more actors where reward workers are what the learner waits for", () => {
    const fleet = newFleet({ ...options, rewardSeconds: 8, rewardWorkers: 4 }, 2);
    expect(Math.max(...balance(fleet, 3_600))).toBeLessThanOrEqual(3);
  });

  it("keeps within its bounds, and decides nothing by what another fleet measured", () => {
    const slow = { ...options, groupSeconds: 6 };
    expect(Math.max(...balance(newFleet(slow, 1), 3_600, { least: 1, most: 5 }))).toBe(5);
    expect(balance(newFleet(options, 6), 3_600, { least: 4, most: 8 }).at(-1)).toBe(4);
    const demand = { actors: 3, learnerIdle: 0.9, actorsBusy: 1, needed: 30, tooFew: 0 };
    expect(balanced(4, demand, { least: 1, most: 32 })).toBe(4);
    expect(balanced(3, demand, { least: 1, most: 32 })).toBe(6);
  });

  it("measures nothing while pods come and go, and in stages that sample nothing", () => {
    const fleet = newFleet(options, 2);
    fleet.pass(60);
    const look = fleet.look();
    expect(notePace(NO_PACE, { ...look, wanted: 3 }).window).toBeUndefined();
    expect(notePace(NO_PACE, { ...look, waitSeconds: undefined }).window).toBeUndefined();
    expect(notePace(NO_PACE, look).window).toBeDefined();
  });
});
