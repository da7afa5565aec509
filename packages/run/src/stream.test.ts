/**
 * Model-based tests of streaming mode: whatever arrives, however late and however often, whoever dies, every group is trained
 * exactly once or dropped with a reason (T1), within the bounds of staleness and of work in flight (Q1).
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ScoredHead } from "./admission.ts";
import { conduct, createConductor, readyBatch, rolloutGroupsInFlight } from "./conductor.ts";
import type { ConductorEffect, ConductorState, TimedEvent, WorkItem } from "./conductor.ts";
import { groupKey } from "./identity.ts";
import type { PolicyVersion } from "./identity.ts";
import { groupsDropped } from "./ledger.ts";
import type { Ledger } from "./ledger.ts";
import { describeWaits } from "./stall.ts";
import { streamCursor } from "./stream.ts";
import type { StreamCursor, StreamPlan } from "./stream.ts";

/** An item at an actor, with the versions that have drawn tokens of it so far. */
interface Generating {
  readonly item: WorkItem;
  readonly incarnation: number;
  readonly policies: PolicyVersion[];
}

/** What a checkpoint holds, and what had been trained and dropped by then. */
interface Saved {
  readonly trained: number;
  readonly cursor: StreamCursor;
  readonly ledger: Ledger;
  readonly usedGroups: readonly string[];
  readonly droppedGroups: readonly string[];
}

/** A learner, its actors and the bus between them. Weights of a version differ between incarnations that made it. */
class Run {
  state!: ConductorState;
  readonly plan: StreamPlan;
  incarnation = 0;
  queue: Generating[] = [];
  generating: Generating[] = [];
  scored: ScoredHead[] = [];
  delivered: ScoredHead[] = [];
  used: string[] = [];
  dropped: string[] = [];
  trained = 0;
  announced: PolicyVersion[] = [];
  kept = new Map<string, number>();
  saved: Saved;

  constructor(plan: StreamPlan) {
    this.plan = plan;
    this.saved = {
      trained: 0,
      cursor: { issued: 0, outstanding: [] },
      ledger: createConductor({ uid: "r", incarnation: 1, fingerprint: "e", nowMs: 0 }).ledger,
      usedGroups: [],
      droppedGroups: [],
    };
    this.restart();
  }

  /** The learner dies and continues from its last checkpoint; actors and the bus keep what they have. */
  restart(): void {
    const { trained, cursor, ledger, usedGroups, droppedGroups } = this.saved;
    this.incarnation += 1;
    this.trained = trained;
    this.used = [...usedGroups];
    this.dropped = [...droppedGroups];
    this.kept.clear();
    const { uid, incarnation } = { uid: "r", incarnation: this.incarnation };
    this.state = createConductor({ uid, incarnation, fingerprint: "e", itemSamples: 2, ledger, nowMs: 0 });
    this.announced = [this.versionOf(this.plan.basePolicy + trained)];
    this.apply({
      type: "stage-began",
      stage: 0,
      plan: undefined,
      trained,
      published: this.announced,
      stream: { plan: this.plan, cursor },
      nowMs: 0,
    });
  }

  versionOf(number: number): PolicyVersion {
    return { number, digest: `${number}@${this.incarnation}` };
  }

  apply(event: TimedEvent): readonly ConductorEffect[] {
    const before = JSON.stringify(this.state);
    const { state, effects } = conduct(this.state, event);
    const again = conduct(JSON.parse(before) as ConductorState, event);
    assert.deepEqual(JSON.parse(JSON.stringify(again)), JSON.parse(JSON.stringify({ state, effects })));
    this.state = state;
    for (const effect of effects) this.observe(effect);
    const { maxStaleness, groupsPerStep } = this.plan;
    assert.ok(rolloutGroupsInFlight(state) <= (maxStaleness + 1) * groupsPerStep, "Q1");
    const { groupsIssued, groupsTrained } = state.ledger;
    assert.equal(
      groupsIssued,
      groupsTrained + groupsDropped(state.ledger) + rolloutGroupsInFlight(state),
      "T1",
    );
    return effects;
  }

  observe(effect: ConductorEffect): void {
    if (effect.type === "issue") {
      for (const item of effect.items) {
        assert.ok(item.followNewest);
        this.queue.push({ item, incarnation: this.incarnation, policies: [] });
      }
    }
    if (effect.type === "keep") {
      const key = groupKey(effect.identity);
      this.kept.set(key, (this.kept.get(key) ?? 0) + effect.samples.length);
    }
    if (effect.type === "drop-group") {
      this.dropped.push(groupKey(effect.identity));
      this.kept.delete(groupKey(effect.identity));
    }
  }

  /** An actor takes the item, or draws further tokens of it, by the newest version that is announced. */
  decode(at: number): void {
    const next = this.queue.splice(at % Math.max(1, this.queue.length), 1);
    this.generating.push(...next);
    const newest = this.announced.at(-1);
    for (const { policies, incarnation } of this.generating) {
      if (newest !== undefined && incarnation === this.incarnation && policies.at(-1) !== newest) {
        policies.push(newest);
      }
    }
  }

  finish(at: number, failed = false): void {
    const [done] = this.generating.splice(at % Math.max(1, this.generating.length), 1);
    if (done === undefined || done.policies.length === 0) return;
    const { item, incarnation, policies } = done;
    this.scored.push({
      identity: item.identity,
      incarnation,
      policies,
      fingerprint: "e",
      producedBy: "actor-0",
      samples: Array.from({ length: item.samples }, (_, i) => ({
        sample: item.firstSample + i,
        status: failed ? ("failed" as const) : ("scored" as const),
      })),
    });
  }

  deliver(at: number): void {
    const [message] = this.scored.splice(at % Math.max(1, this.scored.length), 1);
    if (message === undefined) return;
    this.delivered.push(message);
    this.apply({ type: "received", message, nowMs: 1 });
  }

  /** Trains on the next batch if it is there; publication follows later. */
  train(): boolean {
    const batch = { purpose: "rollout", stage: 0, step: this.trained } as const;
    const groups = readyBatch(this.state, batch);
    if (groups === undefined) return false;
    const { groupsPerStep, samplesPerGroup, basePolicy, maxStaleness } = this.plan;
    assert.equal(groups.length, groupsPerStep);
    const numbers = groups.map(({ step, group }) => step * groupsPerStep + group);
    assert.deepEqual(
      numbers,
      numbers.toSorted((a, b) => a - b),
      "order within a batch is by identity",
    );
    for (const ready of this.state.stream?.ready.slice(0, groupsPerStep) ?? []) {
      assert.ok(basePolicy + this.trained - ready.oldest <= maxStaleness, "no batch has older weights");
    }
    for (const identity of groups) {
      assert.equal(this.kept.get(groupKey(identity)), samplesPerGroup, "every sample was kept once");
      this.used.push(groupKey(identity));
    }
    this.apply({ type: "batch-used", batch, nowMs: 1 });
    this.trained += 1;
    return true;
  }

  publish(): void {
    const number = (this.announced.at(-1)?.number ?? 0) + 1;
    if (number > this.plan.basePolicy + this.trained) return;
    const policy = this.versionOf(number);
    this.announced.push(policy);
    this.apply({ type: "published", policy, nowMs: 1 });
  }

  checkpoint(): void {
    const { stream, ledger } = this.state;
    if (stream === undefined) return;
    const done = { ...ledger, groupsIssued: ledger.groupsTrained + groupsDropped(ledger) };
    const [usedGroups, droppedGroups] = [[...this.used], [...this.dropped]];
    this.saved = {
      trained: this.trained,
      cursor: streamCursor(stream),
      ledger: done,
      usedGroups,
      droppedGroups,
    };
  }
}

const plans: fc.Arbitrary<StreamPlan> = fc.record({
  maxStaleness: fc.integer({ min: 1, max: 3 }),
  steps: fc.integer({ min: 1, max: 6 }),
  basePolicy: fc.integer({ min: 0, max: 5 }),
  groupsPerStep: fc.integer({ min: 1, max: 4 }),
  samplesPerGroup: fc.integer({ min: 1, max: 5 }),
});

type Act = (run: Run, pick: number) => void;

/** What happens in a run, and what goes wrong in one. */
const acts: Readonly<Record<string, Act>> = {
  decode: (run, pick) => run.decode(pick),
  finish: (run, pick) => run.finish(pick, pick % 11 === 0),
  deliver: (run, pick) => run.deliver(pick),
  train: (run) => void run.train(),
  publish: (run) => run.publish(),
  checkpoint: (run) => run.checkpoint(),
  "learner dies": (run) => run.restart(),
  "actor dies": (run) => {
    // The bus delivers its items again; what was drawn is lost.
    run.queue.push(...run.generating.map((lost) => ({ ...lost, policies: [] })));
    run.generating = [];
  },
  "item delivered twice": (run, pick) => {
    const twice = run.generating[pick % Math.max(1, run.generating.length)];
    if (twice !== undefined) run.queue.push({ ...twice, policies: [] });
  },
  "message delivered twice": (run, pick) => {
    const message = run.delivered[pick % Math.max(1, run.delivered.length)];
    if (message === undefined) return;
    const kept = JSON.stringify([...run.kept]);
    run.apply({ type: "received", message, nowMs: 1 });
    assert.equal(JSON.stringify([...run.kept]), kept, "a duplicate is not kept");
  },
  "foreign message": (run, pick) => {
    const message = run.scored[pick % Math.max(1, run.scored.length)];
    if (message === undefined) return;
    const bad: ScoredHead[] = [
      { ...message, identity: { ...message.identity, uid: "other" } },
      { ...message, identity: { ...message.identity, draw: 1 } },
      { ...message, identity: { ...message.identity, step: 1_000_000 } },
      { ...message, identity: { ...message.identity, group: run.plan.groupsPerStep } },
      { ...message, samples: [{ sample: 99, status: "scored" }] },
    ];
    for (const one of bad) {
      const types = run.apply({ type: "received", message: one, nowMs: 1 }).map(({ type }) => type);
      assert.deepEqual(types, ["drop"]);
    }
  },
  "message parked": (run, pick) => {
    const [message] = run.scored.splice(pick % Math.max(1, run.scored.length), 1);
    if (message === undefined) return;
    const { identity, incarnation } = message;
    run.apply({ type: "parked", identity, incarnation, reason: "unreadable", nowMs: 1 });
  },
  "weights nobody published": (run, pick) => {
    const message = run.scored[pick % Math.max(1, run.scored.length)];
    if (message === undefined) return;
    expectUnkept(run, {
      ...message,
      policies: message.policies.map((policy) => ({ ...policy, digest: "other" })),
    });
  },
  "another plan": (run, pick) => {
    const message = run.scored[pick % Math.max(1, run.scored.length)];
    if (message !== undefined) expectUnkept(run, { ...message, fingerprint: "other" });
  },
};

/** W2, D1b: nothing of it counts, and where its group was out, that goes with it. */
function expectUnkept(run: Run, message: ScoredHead): void {
  const count = (): number => [...run.kept.values()].reduce((sum, kept) => sum + kept, 0);
  const [kept, { groupsTrained, groupsDropped: before }] = [count(), run.state.ledger];
  const effects = run.apply({ type: "received", message, nowMs: 1 });
  assert.ok(count() <= kept);
  const drop = effects.find(({ type }) => type === "drop");
  assert.ok(drop?.type === "drop");
  const { reason } = drop;
  const isCounted = reason === "unknown-policy" || reason === "other-fingerprint" || reason === "stale";
  const grown = isCounted ? { ...before, [reason]: before[reason] + 1 } : before;
  assert.deepEqual(run.state.ledger.groupsDropped, grown);
  assert.equal(run.state.ledger.groupsTrained, groupsTrained);
}

const often = ["decode", "decode", "finish", "finish", "deliver", "deliver", "train", "publish"];
const happenings = fc.record({
  act: fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...often) },
    { weight: 1, arbitrary: fc.constantFrom(...Object.keys(acts)) },
  ),
  pick: fc.nat(),
});

/** Goes on in peace until every step is trained. */
function settle(run: Run): void {
  for (let guard = 0; run.trained < run.plan.steps; guard++) {
    assert.ok(guard < 5000, `stuck: ${describeWaits(run.state, 1)}`);
    run.decode(0);
    run.finish(0);
    run.deliver(0);
    if (run.train()) run.publish();
    if (guard % 7 === 0) run.publish();
  }
}

describe("a stream of groups", () => {
  test("T1, Q1, W2, F1: every group is trained once or dropped with a reason, whatever happens", () => {
    fc.assert(
      fc.property(plans, fc.array(happenings, { maxLength: 250 }), (plan, story) => {
        const run = new Run(plan);
        for (const { act, pick } of story) acts[act]?.(run, pick);
        settle(run);
        const { ledger, stream } = run.state;
        expect(run.used).toHaveLength(plan.steps * plan.groupsPerStep);
        expect(new Set(run.used).size).toBe(run.used.length);
        expect(run.used.filter((group) => run.dropped.includes(group))).toEqual([]);
        expect(ledger.groupsTrained).toBe(run.used.length);
        expect(groupsDropped(ledger)).toBe(run.dropped.length);
        expect(ledger.groupsIssued).toBe(run.used.length + run.dropped.length);
        expect(rolloutGroupsInFlight(run.state)).toBe(0);
        // Nothing is left out on the way: the numbers of all groups are those from 0 on.
        const numbers = [...run.used, ...run.dropped].map((key) => {
          const [, , step, group] = key.split("/").map(Number);
          return (step ?? 0) * plan.groupsPerStep + (group ?? 0);
        });
        expect(numbers.toSorted((a, b) => a - b)).toEqual(numbers.map((_, i) => i));
        expect(stream?.issued).toBe(numbers.length);
      }),
      { numRuns: 300 },
    );
  });

  const plan: StreamPlan = {
    maxStaleness: 1,
    steps: 4,
    basePolicy: 3,
    groupsPerStep: 2,
    samplesPerGroup: 2,
  };
  const answer = (run: Run, group: number, policies: PolicyVersion[]): ScoredHead => {
    const item = run.queue.find(
      ({ item: { identity } }) => identity.step * 2 + identity.group === group,
    )?.item;
    assert.ok(item, `group ${group} is not issued`);
    const samples = [0, 1].map((sample) => ({ sample, status: "scored" as const }));
    const { identity } = item;
    const producedBy = "actor-0";
    return { identity, incarnation: run.incarnation, policies, fingerprint: "e", producedBy, samples };
  };
  const receive = (run: Run, group: number, policies: PolicyVersion[]): readonly ConductorEffect[] =>
    run.apply({ type: "received", message: answer(run, group, policies), nowMs: 1 });

  test("pacing is AReaL's: with v published updates, groups are issued up to (v + η + 1) · B", () => {
    const run = new Run(plan);
    expect(run.state.stream?.issued).toBe(4);
    for (const group of [3, 1]) receive(run, group, [run.versionOf(3)]);
    run.train();
    // The update is made, and not published yet: an actor could only take the weights that are too old by then.
    expect(run.state.stream?.issued).toBe(4);
    run.publish();
    expect(run.state.stream?.issued).toBe(6);
    expect(run.used).toEqual(["rollout/0/0/1/0", "rollout/0/1/1/0"]);
  });

  test("a group that became too old is dropped whole, counted, and another takes its place", () => {
    const run = new Run(plan);
    for (const group of [0, 1]) receive(run, group, [run.versionOf(3)]);
    run.train();
    run.publish();
    for (const group of [2, 4]) receive(run, group, [run.versionOf(4)]);
    run.train();
    run.publish();
    // Begun by version 3, ended by version 5, which is the learner's now: two versions of staleness.
    const effects = receive(run, 3, [run.versionOf(3), run.versionOf(4), run.versionOf(5)]);
    expect(effects.map(({ type }) => type)).toEqual(["drop", "drop-group", "issue"]);
    expect(run.state.ledger.groupsDropped).toEqual({
      stale: 1,
      "unknown-policy": 0,
      "other-fingerprint": 0,
      unreadable: 0,
      "stage-ended": 0,
    });
    expect(receive(run, 3, [run.versionOf(5)])).toMatchObject([{ type: "drop", reason: "late" }]);
  });

  test("a complete group that waits too long is dropped when the batch before it is trained", () => {
    const run = new Run(plan);
    for (const group of [0, 1]) receive(run, group, [run.versionOf(3)]);
    run.train();
    run.publish();
    // Two overtake it; it is one version behind when it comes.
    for (const group of [4, 5]) receive(run, group, [run.versionOf(4)]);
    receive(run, 2, [run.versionOf(3), run.versionOf(4)]);
    expect(run.state.stream?.ready.map(({ number }) => number)).toEqual([4, 5, 2]);
    run.train();
    expect(run.dropped).toEqual(["rollout/0/1/0/0"]);
    expect(run.state.stream?.ready).toEqual([]);
  });

  test("T1: a stage that ends early drops what is out by name", () => {
    const run = new Run(plan);
    receive(run, 1, [run.versionOf(3)]);
    const published = [run.versionOf(3)];
    run.apply({ type: "stage-began", stage: 0, plan: undefined, trained: 4, published, nowMs: 2 });
    expect(run.state.ledger).toMatchObject({ groupsIssued: 4, groupsDropped: { "stage-ended": 4 } });
    expect(run.dropped).toHaveLength(4);
  });

  test("L1: the wait names the step and the groups that are out", () => {
    const run = new Run(plan);
    receive(run, 2, [run.versionOf(3)]);
    expect(describeWaits(run.state, 2000)).toBe(
      "step 0 of stage 0 waits for 1 of 2 groups (0, 1, 3; 6 samples, policy version 3) that were issued to actors " +
        "2.0 s ago and have not come back from the reward workers",
    );
  });
});
