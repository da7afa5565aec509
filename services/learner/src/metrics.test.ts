/** What a batch's numbers say of its groups. */
import { expect, test } from "vitest";
import type { ResolvedRun } from "@oarlock/runfile";
import { batchMetrics, remainingSeconds } from "./metrics.ts";

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

test("nothing is left of a stage that has ended before its last step", () => {
  const stages = [{ name: "warm", type: "sft", sft: { steps: 10 } }];
  const run = { spec: { stages } } as unknown as ResolvedRun; // of a stage only its steps are read
  const left = (ended: object): number | undefined =>
    remainingSeconds(run, { stage: 0, step: 4, ...ended }, { "timing_s/step": 2 });
  expect([left({}), left({ ended: true })]).toEqual([12, 0]);
});
