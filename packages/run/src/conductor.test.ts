/**
 * Model-based tests of the conductor: whatever arrives, however often and in whichever order, T1, D1, Q1 and W2 hold.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { conduct, createConductor, readyBatch, rolloutGroupsInFlight } from "./conductor.ts";
import type { ConductorEffect, ConductorState, RolloutPlan, TimedEvent, WorkItem } from "./conductor.ts";
import type { ScoredHead } from "./admission.ts";
import { batchKey, groupKey } from "./identity.ts";
import type { PolicyVersion } from "./identity.ts";
import { policyNumberOfStep } from "./lockstep.ts";
import { describeWaits, idleMs } from "./stall.ts";

const UID = "run-1";
const policyOf = (number: number): PolicyVersion => ({ number, digest: `digest-${number}` });

/** What an actor and a reward worker make of an item. */
function answer(item: WorkItem, failed: ReadonlySet<number> = new Set(), incarnation = 1): ScoredHead {
  return {
    identity: item.identity,
    incarnation,
    policies: [item.policy],
    fingerprint: "engine-1",
    producedBy: "actor-0",
    samples: Array.from({ length: item.samples }, (_, i) => ({
      sample: item.firstSample + i,
      status: failed.has(item.firstSample + i) ? ("failed" as const) : ("scored" as const),
    })),
  };
}

/** Drives a conductor as a learner would, and records everything that the invariants speak of. */
class Harness {
  state: ConductorState;
  readonly plan: RolloutPlan;
  /** Messages on their way to the learner. */
  readonly wire: ScoredHead[] = [];
  readonly kept: string[] = [];
  readonly issued: WorkItem[] = [];
  readonly ready: string[] = [];
  readonly drops: string[] = [];
  trained: number;

  constructor(
    plan: RolloutPlan,
    options: { itemSamples?: number; incarnation?: number; trained?: number } = {},
  ) {
    const { itemSamples = 100, incarnation = 1, trained = 0 } = options;
    this.plan = plan;
    this.trained = trained;
    this.state = createConductor({ uid: UID, incarnation, fingerprint: "engine-1", itemSamples, nowMs: 0 });
    const first = plan.basePolicy + Math.max(0, trained - plan.lag);
    const published = [];
    for (let number = first; number <= plan.basePolicy + trained; number++) published.push(policyOf(number));
    this.apply({ type: "stage-began", stage: 0, plan, trained, published, nowMs: 0 });
  }

  apply(event: TimedEvent): readonly ConductorEffect[] {
    const before = JSON.stringify(this.state);
    const { state, effects } = conduct(this.state, event);
    // Deterministic, and pure: the same event on a copy from JSON does the same.
    const again = conduct(JSON.parse(before) as ConductorState, event);
    assert.deepEqual(JSON.parse(JSON.stringify(again)), JSON.parse(JSON.stringify({ state, effects })));
    this.state = state;
    for (const effect of effects) this.observe(effect);
    assert.ok(rolloutGroupsInFlight(this.state) <= (this.plan.lag + 1) * this.plan.groupsPerStep, "Q1");
    return effects;
  }

  observe(effect: ConductorEffect): void {
    if (effect.type === "issue") {
      for (const item of effect.items) {
        this.issued.push(item);
        if (item.identity.purpose === "rollout") {
          assert.equal(item.policy.number, policyNumberOfStep(this.plan, item.identity.step), "D1");
        }
      }
    }
    if (effect.type === "keep") {
      for (const sample of effect.samples) this.kept.push(`${groupKey(effect.identity)}#${sample}`);
    }
    if (effect.type === "batch-ready") this.ready.push(batchKey(effect.batch));
    if (effect.type === "drop") this.drops.push(effect.reason);
  }

  /** Trains the next step if its batch is ready. */
  trainIfReady(): boolean {
    const batch = { purpose: "rollout", stage: 0, step: this.trained } as const;
    if (readyBatch(this.state, batch) === undefined) return false;
    this.apply({ type: "batch-used", batch, nowMs: 1 });
    this.trained += 1;
    this.apply({ type: "published", policy: policyOf(this.plan.basePolicy + this.trained), nowMs: 1 });
    return true;
  }
}

const plans: fc.Arbitrary<RolloutPlan> = fc.record({
  lag: fc.integer({ min: 0, max: 3 }),
  steps: fc.integer({ min: 1, max: 6 }),
  basePolicy: fc.integer({ min: 0, max: 5 }),
  groupsPerStep: fc.integer({ min: 1, max: 4 }),
  samplesPerGroup: fc.integer({ min: 1, max: 5 }),
});

/** What the outside world may do to messages. */
interface Mischief {
  readonly kind:
    | "deliver"
    | "duplicate"
    | "foreign"
    | "superseded"
    | "other-engine"
    | "other-weights"
    | "unissued"
    | "malformed"
    | "short"
    | "train";
  readonly pick: number;
}
const mischief: fc.Arbitrary<Mischief> = fc.record({
  kind: fc.constantFrom(
    ...(["deliver", "deliver", "deliver", "duplicate", "foreign", "superseded", "other-engine"] as const),
    ...(["other-weights", "unissued", "malformed", "short", "train"] as const),
  ),
  pick: fc.nat(),
});

function act(harness: Harness, queue: WorkItem[], done: WorkItem[], { kind, pick }: Mischief): void {
  const send = (message: ScoredHead) => harness.apply({ type: "received", message, nowMs: 1 });
  const item = queue[pick % Math.max(1, queue.length)] ?? done[pick % Math.max(1, done.length)];
  if (item === undefined) return;
  const message = answer(item, new Set([pick % 7]));
  const expectDrop = (bad: ScoredHead): readonly ConductorEffect[] => {
    const kept = harness.kept.length;
    const effects = send(bad);
    assert.equal(effects[0]?.type, "drop");
    assert.equal(harness.kept.length, kept);
    return effects.slice(1);
  };
  const expectAlone = (bad: ScoredHead) => assert.deepEqual(expectDrop(bad), []);
  /** Of a group that is out it is the answer, which will not come a second time. */
  const expectLost = (bad: ScoredHead) => {
    const isOut = queue.includes(item);
    const lost = expectDrop(bad).map(({ type }) => type);
    assert.deepEqual(lost, isOut ? ["group-lost"] : []);
  };
  const acts: Record<Mischief["kind"], () => void> = {
    deliver: () => {
      const at = queue.indexOf(item);
      if (at >= 0) done.push(...queue.splice(at, 1));
      send(message);
    },
    duplicate: () => {
      const again = done[pick % Math.max(1, done.length)];
      if (again !== undefined) expectAlone(answer(again));
    },
    foreign: () => expectAlone({ ...message, identity: { ...message.identity, uid: "run-2" } }),
    superseded: () => expectAlone({ ...message, incarnation: 0 }),
    "other-engine": () => expectLost({ ...message, fingerprint: "engine-2" }),
    "other-weights": () => expectLost({ ...message, policies: [{ ...item.policy, digest: "other" }] }),
    unissued: () => expectAlone({ ...message, identity: { ...message.identity, draw: 1 } }),
    malformed: () => expectAlone({ ...message, samples: [{ sample: 99, status: "scored" }] }),
    short: () => expectAlone({ ...message, samples: message.samples.slice(1) }),
    train: () => void harness.trainIfReady(),
  };
  acts[kind]();
}

function finish(harness: Harness, queue: WorkItem[]): void {
  for (let guard = 0; harness.trained < harness.plan.steps && guard < 1000; guard++) {
    const item = queue.shift();
    if (item !== undefined) harness.apply({ type: "received", message: answer(item), nowMs: 2 });
    while (harness.trainIfReady());
    queue.push(...harness.issued.splice(0));
  }
}

describe("conductor", () => {
  test("T1, D1, Q1, W2: every sample of every step is kept exactly once under any interleaving", () => {
    fc.assert(
      fc.property(
        plans,
        fc.integer({ min: 1, max: 6 }),
        fc.array(mischief, { maxLength: 120 }),
        (plan, itemSamples, story) => {
          const harness = new Harness(plan, { itemSamples });
          const queue: WorkItem[] = harness.issued.splice(0);
          const done: WorkItem[] = [];
          for (const next of story) {
            act(harness, queue, done, next);
            queue.push(...harness.issued.splice(0));
          }
          finish(harness, queue);
          const expected = [];
          for (let step = 0; step < plan.steps; step++)
            for (let group = 0; group < plan.groupsPerStep; group++)
              for (let sample = 0; sample < plan.samplesPerGroup; sample++)
                expected.push(`rollout/0/${step}/${group}/0#${sample}`);
          expect(harness.kept.toSorted()).toEqual(expected.toSorted());
          expect(harness.ready.toSorted()).toEqual([...new Set(harness.ready)].toSorted());
          expect(harness.ready).toHaveLength(plan.steps);
          const groups = plan.steps * plan.groupsPerStep;
          expect(harness.state.ledger).toMatchObject({ groupsIssued: groups, groupsTrained: groups });
          expect(harness.state.batches).toEqual({});
        },
      ),
    );
  });

  test("T3: a learner that restarts at any step issues exactly what is untrained, by the same policies", () => {
    fc.assert(
      fc.property(plans, fc.nat(), (plan, pick) => {
        const trained = pick % (plan.steps + 1);
        const whole = new Harness(plan);
        const items: WorkItem[] = [];
        const record = () => {
          const issued = whole.issued.splice(0);
          items.push(...issued);
          return issued;
        };
        const queue = record();
        while (whole.trained < plan.steps) {
          const item = queue.shift();
          if (item !== undefined) whole.apply({ type: "received", message: answer(item), nowMs: 2 });
          while (whole.trainIfReady());
          queue.push(...record());
        }
        const resumed = new Harness(plan, { incarnation: 2, trained });
        const again = [...resumed.issued];
        const limit = Math.min(plan.steps, trained + plan.lag + 1);
        expect(again).toEqual(
          items.filter(({ identity }) => identity.step >= trained && identity.step < limit),
        );
      }),
    );
  });

  test("F1: what an earlier learner issued has no effect on its successor", () => {
    const harness = new Harness(
      { lag: 0, steps: 1, basePolicy: 0, groupsPerStep: 1, samplesPerGroup: 2 },
      { incarnation: 2 },
    );
    const [item] = harness.issued;
    harness.apply({ type: "received", message: answer(item!, new Set(), 1), nowMs: 1 });
    expect(harness.drops).toEqual(["superseded"]);
    harness.apply({ type: "received", message: answer(item!, new Set(), 2), nowMs: 1 });
    expect(harness.ready).toEqual(["rollout/0/0"]);
  });

  test("T1: a stage that a guard ends drops by name what was issued ahead", () => {
    const harness = new Harness({ lag: 1, steps: 5, basePolicy: 0, groupsPerStep: 2, samplesPerGroup: 1 });
    for (const item of harness.issued.slice(0, 3))
      harness.apply({ type: "received", message: answer(item), nowMs: 1 });
    harness.apply({ type: "batch-used", batch: { purpose: "rollout", stage: 0, step: 0 }, nowMs: 1 });
    const effects = harness.apply({
      type: "stage-began",
      stage: 0,
      plan: undefined,
      trained: 5,
      published: [],
      nowMs: 2,
    });
    const ahead = harness.issued.slice(2).map(({ identity }) => identity);
    expect(effects).toEqual(
      ahead.map((identity) => ({ type: "drop-group", identity, reason: "stage-ended" })),
    );
    expect(harness.state.ledger).toMatchObject({
      groupsIssued: 4,
      groupsTrained: 2,
      groupsDropped: { "stage-ended": 2 },
    });
  });

  test("D1: a group of which a message is parked is lost, if it is out and of this learner", () => {
    const plan = { lag: 0, steps: 1, basePolicy: 0, groupsPerStep: 2, samplesPerGroup: 1 };
    const harness = new Harness(plan, { incarnation: 2 });
    const park = (item: WorkItem, incarnation = 2) =>
      harness.apply({ type: "parked", identity: item.identity, incarnation, reason: "torn", nowMs: 1 });
    const [first, second] = harness.issued;
    harness.apply({ type: "received", message: answer(first!, new Set(), 2), nowMs: 1 });
    expect([park(first!), park(second!, 1)]).toEqual([[], []]);
    const reason = "a message of it is parked: torn";
    expect(park(second!)).toEqual([{ type: "group-lost", identity: second!.identity, reason }]);
  });

  test.each<[string, Partial<ScoredHead>, string]>([
    [
      "D1b: another plan",
      { fingerprint: "engine-2-is-another" },
      "actor-0 made it by plan engine-2-is-, this run's is engine-1",
    ],
    [
      "W2: weights nobody published",
      { policies: [{ number: 3, digest: "0".repeat(64) }] },
      "actor-0 made it by policy version 3 (000000000000), expected is policy version 0 (digest-0)",
    ],
  ])(
    "%s: a group whose answer may not count is lost, and it is said who made it by what",
    (_, bad, reason) => {
      const harness = new Harness({ lag: 0, steps: 1, basePolicy: 0, groupsPerStep: 1, samplesPerGroup: 2 });
      const message = answer(harness.issued[0]!);
      const { identity } = message;
      const receive = (head: ScoredHead) => harness.apply({ type: "received", message: head, nowMs: 1 });
      expect(receive({ ...message, ...bad })).toEqual([
        expect.objectContaining({ type: "drop", detail: reason }),
        { type: "group-lost", identity, reason },
      ]);
      // Of a learner that superseded this one: not the answer to what this one asked for.
      expect(receive({ ...message, ...bad, incarnation: 2 })).toMatchObject([{ type: "drop" }]);
      receive(message);
      expect(receive({ ...message, ...bad })).toMatchObject([
        { type: "drop", reason: "duplicate", detail: "" },
      ]);
    },
  );

  test("L1: fewer samples than were asked for together, or others, are refused by name: the rest would never come", () => {
    const plan = { lag: 0, steps: 1, basePolicy: 0, groupsPerStep: 1, samplesPerGroup: 5 };
    const harness = new Harness(plan, { itemSamples: 3 });
    const receive = (...samples: number[]) => {
      const verdicts = samples.map((sample) => ({ sample, status: "scored" as const }));
      const message = { ...answer(harness.issued[0]!), samples: verdicts };
      const [first] = harness.apply({ type: "received", message, nowMs: 1 });
      return first?.type === "drop" ? `${first.reason}: ${first.detail}` : first?.type;
    };
    const refused = (what: string) =>
      `malformed: actor-0 answered with ${what} of a group of 5 samples, asked for in pieces of 3`;
    expect(receive(0, 1)).toBe(refused("2 (0, 1)"));
    expect(receive(3)).toBe(refused("1 (3)"));
    expect(receive(1, 2, 3)).toBe(refused("3 (1, 2, 3)"));
    expect(receive(0, 1, 1)).toBe(refused("3 (0, 1, 1)"));
    expect(receive(0, 1, 2, 3)).toBe(refused("4 (0, 1, 2, 3)"));
    expect(receive()).toBe(refused("0 ()"));
    expect([receive(0, 1, 2), receive(3, 4)]).toEqual(["keep", "keep"]);
    expect(harness.ready).toEqual(["rollout/0/0"]);
  });

  test("S1: failed samples complete a group and are counted", () => {
    const harness = new Harness({ lag: 0, steps: 1, basePolicy: 0, groupsPerStep: 1, samplesPerGroup: 3 });
    harness.apply({ type: "received", message: answer(harness.issued[0]!, new Set([0, 2])), nowMs: 1 });
    expect(harness.state.ledger.samplesFailed).toBe(2);
    expect(readyBatch(harness.state, { purpose: "rollout", stage: 0, step: 0 })).toHaveLength(1);
    expect(harness.state.batches["rollout/0/0"]?.groups[0]?.samples).toEqual(["failed", "scored", "failed"]);
  });

  test("a group split over items is complete when all of its samples are in, in any order", () => {
    const plan = { lag: 0, steps: 1, basePolicy: 0, groupsPerStep: 1, samplesPerGroup: 5 };
    const harness = new Harness(plan, { itemSamples: 2 });
    expect(harness.issued.map(({ firstSample, samples }) => [firstSample, samples])).toEqual([
      [0, 2],
      [2, 2],
      [4, 1],
    ]);
    for (const item of harness.issued.toReversed()) {
      expect(harness.ready).toEqual([]);
      harness.apply({ type: "received", message: answer(item), nowMs: 1 });
    }
    expect(harness.ready).toEqual(["rollout/0/0"]);
  });

  test("late messages are named late, not unissued", () => {
    const harness = new Harness({ lag: 0, steps: 2, basePolicy: 0, groupsPerStep: 1, samplesPerGroup: 1 });
    const [item] = harness.issued;
    harness.apply({ type: "received", message: answer(item!), nowMs: 1 });
    harness.trainIfReady();
    harness.apply({ type: "received", message: answer(item!), nowMs: 1 });
    expect(harness.drops).toEqual(["late"]);
  });

  test("an evaluation takes the same path within its window, beside rollouts in flight", () => {
    const harness = new Harness({ lag: 1, steps: 2, basePolicy: 3, groupsPerStep: 2, samplesPerGroup: 1 });
    harness.issued.splice(0);
    const groupSizes = [4, 4, 4, 1, 1];
    harness.apply({
      type: "evaluation-began",
      step: 0,
      policy: policyOf(3),
      groupSizes,
      window: 2,
      nowMs: 0,
    });
    const sizes: number[] = [];
    while (harness.issued.length > 0) {
      expect(harness.issued.length).toBeLessThanOrEqual(2);
      const item = harness.issued.shift()!;
      sizes.push(item.samples);
      harness.apply({ type: "received", message: answer(item), nowMs: 1 });
    }
    expect(sizes).toEqual(groupSizes);
    expect(harness.ready).toEqual(["evaluation/0/0"]);
    harness.apply({ type: "batch-used", batch: { purpose: "evaluation", stage: 0, step: 0 }, nowMs: 1 });
    expect(harness.state.ledger).toMatchObject({ groupsEvaluated: 5, groupsTrained: 0 });
    expect(harness.state.trained).toBe(0);
  });

  test("L1: the wait names the step, its groups and how long they are out", () => {
    const harness = new Harness({ lag: 0, steps: 2, basePolicy: 7, groupsPerStep: 3, samplesPerGroup: 2 });
    harness.apply({ type: "received", message: answer(harness.issued[1]!), nowMs: 500 });
    expect(idleMs(harness.state, 12_500)).toBe(12_000);
    expect(describeWaits(harness.state, 12_500)).toBe(
      "step 0 of stage 0 waits for 2 of 3 groups (0, 2; 4 samples, policy version 7) that were issued to actors " +
        "12.5 s ago and have not come back from the reward workers",
    );
  });

  test("events that do not apply change nothing", () => {
    const harness = new Harness({ lag: 0, steps: 2, basePolicy: 0, groupsPerStep: 1, samplesPerGroup: 1 });
    const before = harness.state;
    harness.apply({ type: "batch-used", batch: { purpose: "rollout", stage: 0, step: 0 }, nowMs: 9 });
    harness.apply({ type: "batch-used", batch: { purpose: "rollout", stage: 5, step: 1 }, nowMs: 9 });
    expect(harness.state).toEqual(before);
  });
});
