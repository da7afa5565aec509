/** What a batch's numbers say of its groups. */
import { expect, test } from "vitest";
import { batchMetrics } from "./metrics.ts";

test("S1: a group whose samples all failed is neither solved nor unsolved", () => {
  const scores = [
    [1, 1],
    [0, undefined],
    [undefined, undefined],
    [0, 1],
  ];
  const metrics = batchMetrics({ trajectories: [], scores, rewards: [], advantages: [], named: {} });
  expect(metrics).toMatchObject({
    "reward/solved_all": 0.25,
    "reward/solved_none": 0.25,
    "reward/failed_fraction": 3 / 8,
  });
});
