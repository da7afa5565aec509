/** L1: each cause of a standstill has a line of its own. */
import { expect, it } from "vitest";
import { heldUp, heldUpHere, scoringMayTake, SILENT_MS } from "./held-up.ts";
import type { Place } from "./held-up.ts";

const place = (who: string, pending: number, ackPending: number): Place => ({
  who,
  what: "groups",
  reader: { pending, ackPending },
  oldestMs: 31_500,
});

it.each([
  [
    "a slow actor",
    [place("the actors", 2, 3), place("the reward workers", 0, 0)],
    "held up at the actors: 3 groups in hand, 2 not taken, the oldest 31.5 s old",
  ],
  [
    "actors that are gone",
    [place("the actors", 5, 0), place("the reward workers", 0, 0)],
    "held up at the actors: 0 groups in hand, 5 not taken, the oldest 31.5 s old: nobody takes any",
  ],
  [
    "a stuck scorer",
    [place("the actors", 0, 0), place("the reward workers", 0, 4)],
    "held up at the reward workers: 4 groups in hand, 0 not taken, the oldest 31.5 s old",
  ],
  [
    "both",
    [place("the actors", 0, 1), place("the reward workers", 0, 4)],
    "held up at the actors: 1 groups in hand, 0 not taken, the oldest 31.5 s old; and at the reward workers: " +
      "4 groups in hand, 0 not taken, the oldest 31.5 s old",
  ],
  ["nothing that lies on the bus", [place("the actors", 0, 0)], ""],
])("names %s", (_, places, line) => {
  expect(heldUp({ silentMs: 10, places })).toBe(line);
});

it("says how long a reward that does not come back is waited for", () => {
  const reward = { name: "mine", type: "function", timeoutMs: 5_000 } as const;
  const mayTake = scoringMayTake([reward, reward, { ...reward, name: "answer", type: "exact" }]);
  const line = heldUp({ silentMs: 10, places: [{ ...place("the reward workers", 0, 4), mayTake }] });
  expect(line).toMatch(
    /31\.5 s old \(a sample may take up to twice the timeoutMs of a function: mine 5000 ms\)$/,
  );
  expect(heldUp({ silentMs: 10, places: [{ ...place("the reward workers", 2, 0), mayTake }] })).not.toContain(
    "mine",
  );
  expect(scoringMayTake([])).toBe("");
});

it("names the broker before anything that was seen of it earlier", () => {
  const line = heldUp({ silentMs: SILENT_MS, places: [place("the actors", 2, 3)] });
  expect(line).toBe("held up at the broker: it has not answered for 6.0 s");
});

it("names what the broker owes the learner itself, the oldest first", () => {
  const waits = [
    { name: "a message on S/learner", ageMs: 20_000 },
    { name: "nats-server at h:1 to store chunk 0 of object o", ageMs: 5_500 },
    { name: "nats-server at h:1 to store a message on s", ageMs: 10 },
  ];
  const line = "held up at the broker: 5.5 s waited for nats-server at h:1 to store chunk 0 of object o";
  expect(heldUpHere(waits)).toBe(line);
  expect(heldUpHere(waits.filter(({ ageMs }) => ageMs !== 5_500))).toBe("");
});
