/** T3: what guards leave behind can be written down, however often they fire. */
import { expect, test } from "vitest";
import { raisedBeta } from "./guards.ts";

test("alarm upon alarm raises the KL coefficient to a bound, and never to Infinity", () => {
  expect(raisedBeta(0.05, 2)).toBe(0.1);
  let beta = 0.05;
  for (let alarm = 0; alarm < 1_000; alarm += 1) beta = raisedBeta(beta, 100);
  expect(JSON.parse(JSON.stringify(beta))).toBe(1e6);
});
