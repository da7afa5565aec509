/** The circuit breaker as a table: what has happened, and how long nobody may call. */
import { expect, test } from "vitest";
import { circuitWaitMs, CLOSED, reduceCircuit } from "./circuit-breaker.ts";
import type { CircuitEvent } from "./circuit-breaker.ts";

const options = { threshold: 2, openMs: 100, maxOpenMs: 300 };
const failed = (nowMs: number): CircuitEvent => ({ type: "failed", nowMs });
const called = (nowMs: number): CircuitEvent => ({ type: "called", nowMs });
const succeeded: CircuitEvent = { type: "succeeded" };

test.each<[string, CircuitEvent[], number, [string, number]]>([
  ["nothing", [], 0, ["closed", 0]],
  ["one failure", [failed(0)], 0, ["closed", 0]],
  ["failures that are not in a row", [failed(0), succeeded, failed(1)], 1, ["closed", 0]],
  ["as many as it bears", [failed(0), failed(10)], 10, ["open", 100]],
  ["its time is nearly over", [failed(0), failed(10)], 109, ["open", 1]],
  ["failures of calls from before it opened", [failed(0), failed(10), failed(50)], 60, ["open", 50]],
  ["one call tries, others wait", [failed(0), failed(10), called(110)], 110, ["half-open", 300]],
  [
    "a second call does not move the first",
    [failed(0), failed(10), called(110), called(200)],
    200,
    ["half-open", 210],
  ],
  ["the call fails: twice as long", [failed(0), failed(10), called(110), failed(120)], 120, ["open", 200]],
  [
    "and again: never longer than the bound",
    [failed(0), failed(10), called(110), failed(120), called(320), failed(330)],
    330,
    ["open", 300],
  ],
  ["the call succeeds", [failed(0), failed(10), called(110), succeeded], 120, ["closed", 0]],
  ["a success of a call from before", [failed(0), failed(10), succeeded, failed(20)], 20, ["closed", 0]],
])("after %s", (_, events, nowMs, expected) => {
  const state = events.reduce((before, event) => reduceCircuit(before, event, options), CLOSED);
  expect([state.type, circuitWaitMs(state, nowMs)]).toEqual(expected);
});
