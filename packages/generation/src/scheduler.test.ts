import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  activeSeats,
  createScheduler,
  schedule,
  type SchedulerEffect,
  type SchedulerEvent,
  type SchedulerState,
} from "./scheduler.ts";

function play(state: SchedulerState, ...events: readonly SchedulerEvent[]) {
  const effects: SchedulerEffect[] = [];
  for (const event of events) {
    const [next, more] = schedule(state, event);
    state = next;
    effects.push(...more);
  }
  return { state, effects };
}
const fresh = (slots: number) => createScheduler({ slots, maxWaiting: 100 });
const text = (effects: readonly SchedulerEffect[]) =>
  effects.map((e) => {
    if (e.type === "place") return `place ${e.seat.request}${e.seat.sample}@${e.slot}`;
    if (e.type === "move") return `move ${e.from}>${e.to}`;
    if (e.type === "drop") return `drop ${e.seat.request}${e.seat.sample}@${e.slot ?? "queue"}`;
    return e.type === "pass" ? `pass ${e.barrier}` : `${e.type} ${e.request}`;
  });

describe("continuous batching", () => {
  it("prefills a prompt once for all of its samples, over several fills", () => {
    const first = play(fresh(3), { type: "submit", request: "a", samples: 4 }, { type: "fill" });
    expect(text(first.effects)).toEqual(["prefill a", "place a0@0", "place a1@1", "place a2@2"]);
    const second = play(first.state, { type: "leave", slots: [1] }, { type: "fill" });
    expect(text(second.effects)).toEqual(["place a3@1", "release a"]);
  });

  it("lets the next sequence in without waiting for the batch, and closes holes that stay", () => {
    const start = play(
      fresh(4),
      { type: "submit", request: "a", samples: 4 },
      { type: "submit", request: "b", samples: 1 },
      { type: "fill" },
    );
    const next = play(start.state, { type: "leave", slots: [0, 1] }, { type: "fill" });
    expect(text(next.effects)).toEqual(["prefill b", "place b0@0", "release b", "move 3>1"]);
    expect(next.state.seats).toHaveLength(3);
  });

  it("passes a barrier when all before it have left, and holds back all after it", () => {
    const start = play(
      fresh(4),
      { type: "submit", request: "a", samples: 1 },
      { type: "barrier", barrier: "v2" },
      { type: "submit", request: "b", samples: 1 },
      { type: "fill" },
    );
    expect(text(start.effects)).toEqual(["prefill a", "place a0@0", "release a"]);
    const next = play(start.state, { type: "leave", slots: [0] }, { type: "fill" });
    expect(text(next.effects)).toEqual(["pass v2"]);
    const last = play(next.state, { type: "fill" });
    expect(text(last.effects)).toEqual(["prefill b", "place b0@0", "release b"]);
  });

  it("drops a cancelled request, seated or waiting, and nothing else", () => {
    const start = play(
      fresh(2),
      { type: "submit", request: "a", samples: 1 },
      { type: "submit", request: "b", samples: 3 },
      { type: "fill" },
    );
    const next = play(start.state, { type: "cancel", request: "b" }, { type: "fill" });
    expect(text(next.effects)).toEqual(["drop b0@1", "drop b1@queue", "drop b2@queue", "release b"]);
    expect(next.state.seats).toEqual([{ request: "a", sample: 0 }]);
    expect(next.state.waitingSamples).toBe(0);
  });

  it("Q1: refuses what passes the bound of waiting samples", () => {
    expect(() =>
      play(createScheduler({ slots: 1, maxWaiting: 3 }), { type: "submit", request: "a", samples: 4 }),
    ).toThrow(/GENERATION_FULL/);
  });
});

/** Runs requests of the given lengths to the end, checking at every step. Returns how often each sample sat, and statistics. */
function simulate(slots: number, requests: readonly (readonly number[])[]) {
  let state = createScheduler({ slots, maxWaiting: 1e6 });
  const placed = new Map<string, number>();
  const prefixes = new Set<string>();
  let rows: { name: string; left: number }[] = [];
  const apply = (event: SchedulerEvent) => {
    const [next, effects] = schedule(state, event);
    state = next;
    for (const effect of effects) {
      if (effect.type === "prefill") prefixes.add(effect.request);
      if (effect.type === "release") prefixes.delete(effect.request);
      if (effect.type === "move") rows[effect.to] = rows[effect.from]!;
      if (effect.type !== "place") continue;
      const { request, sample } = effect.seat;
      expect(prefixes.has(request)).toBe(true);
      placed.set(`${request}/${sample}`, (placed.get(`${request}/${sample}`) ?? 0) + 1);
      rows[effect.slot] = { name: `${request}/${sample}`, left: requests[Number(request)]![sample]! };
    }
    rows = rows.slice(0, state.seats.length);
  };
  requests.forEach((samples, r) => apply({ type: "submit", request: String(r), samples: samples.length }));
  for (apply({ type: "fill" }); state.seats.length > 0; apply({ type: "fill" })) {
    expect(state.seats.every((seat, i) => seat && `${seat.request}/${seat.sample}` === rows[i]!.name)).toBe(
      true,
    );
    expect(state.seats.length === slots || state.waitingSamples === 0).toBe(true);
    apply({ type: "stepped" });
    const ended = rows.flatMap((row, slot) => (--row.left === 0 ? [slot] : []));
    if (ended.length > 0) apply({ type: "leave", slots: ended });
  }
  expect(prefixes.size).toBe(0);
  expect(activeSeats(state)).toBe(0);
  return { placed, occupancy: state.occupied / (state.steps * slots) };
}

describe("properties", () => {
  it("seats every sample exactly once, keeps slots full while samples wait, and leaves no holes", () => {
    const lengths = fc.array(fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 9 }), {
      maxLength: 12,
    });
    const once = fc.property(fc.integer({ min: 1, max: 10 }), lengths, (slots, requests) => {
      const { placed } = simulate(slots, requests);
      expect(placed.size).toBe(requests.flat().length);
      expect([...placed.values()].every((count) => count === 1)).toBe(true);
    });
    fc.assert(once);
  });

  it("keeps occupancy at .9 or more when lengths spread 10 : 1", () => {
    const requests = Array.from({ length: 64 }, (_, r) =>
      Array.from({ length: 8 }, (__, s) => 10 + ((r * 37 + s * 53) % 91)),
    );
    expect(simulate(32, requests).occupancy).toBeGreaterThanOrEqual(0.9);
  });
});
