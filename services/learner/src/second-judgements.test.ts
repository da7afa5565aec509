/** Groups that are judged a second time: what does not come back has failed. */
import {
  create,
  fromBinary,
  NamedRewardSchema,
  RolloutPurpose,
  TrajectoryBatchSchema,
  TrajectorySchema,
} from "@oarlock/proto";
import type { TrajectoryBatch } from "@oarlock/proto";
import type { ResolvedReward } from "@oarlock/runfile";
import { silentLog, systemClock } from "@oarlock/runtime";
import { expect, test } from "vitest";
import { sampleReward } from "./sample-reward.ts";
import { createSecondJudgements } from "./second-judgements.ts";
import { settleVersions } from "./settle-versions.ts";
import { createStallingWaits } from "./stalling-waits.ts";

const mine: ResolvedReward = {
  name: "mine",
  type: "exact",
  weight: 1,
  optional: false,
  heldOut: false,
  timeoutMs: 1_000,
  exact: { field: "answer", caseSensitive: true, trim: true },
};
const scoredBy = (scorerVersion: string, value: number) =>
  create(NamedRewardSchema, {
    name: "mine",
    scorerVersion,
    verdict: { case: "scored", value: { values: [value] } },
  });
const groupOf = (group: number, version: string) =>
  [0, 1, 2].map((sample) =>
    create(TrajectorySchema, {
      sample,
      purpose: RolloutPurpose.ROLLOUT,
      group: { runUid: "run", stage: 0, step: 1, group, draw: 0 },
      rewards: [scoredBy(version, 3)],
    }),
  );

test("S1: a sample that the second judgement does not have has failed: it keeps no old score and gets no 0", async () => {
  const asked: TrajectoryBatch[] = [];
  const second = createSecondJudgements({
    incarnation: 1,
    fingerprint: "plan",
    generatedSubject: "generated",
    generated: {
      publish(_, bytes) {
        asked.push(fromBinary(TrajectoryBatchSchema, bytes));
        return Promise.resolve({ duplicate: false, sequence: 1 });
      },
    },
    mostGroups: 8,
    waits: createStallingWaits({
      stall: { warnMs: 10_000, stopMs: 20_000 },
      onStalled: () => undefined,
      heldUp: () => "",
      idleMs: () => 0,
    }),
    clock: systemClock,
    log: silentLog,
  });
  const settling = settleVersions([groupOf(0, "1"), groupOf(1, "2")], {
    changeable: ["mine"],
    pinsOf: () => new Map(),
    newest: () => "2",
    judgeAgain: (questions) => second.judge(questions, new AbortController().signal),
  });
  await expect.poll(() => asked.length).toBe(1);
  const [question] = asked;
  const trajectories = (question?.trajectories ?? []).flatMap((trajectory) => {
    // Of three samples one comes back judged, one without a verdict, and one does not come back.
    if (trajectory.sample === 2) return [];
    return [{ ...trajectory, rewards: trajectory.sample === 0 ? [scoredBy("2", 5)] : [] }];
  });
  expect(second.take({ ...question!, trajectories })).toBe(true);
  const [judged = [], untouched = []] = await settling;
  expect(judged.map((trajectory) => sampleReward(trajectory, [mine]))).toEqual([
    { total: 5, named: { mine: 5 } },
    { total: undefined, named: { mine: null }, failure: "no verdict" },
    { total: undefined, named: { mine: null }, failure: "no verdict" },
  ]);
  expect(untouched.map((trajectory) => sampleReward(trajectory, [mine]).total)).toEqual([3, 3, 3]);
});
