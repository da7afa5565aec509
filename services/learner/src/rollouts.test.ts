/** The conductor on the memory bus: what is whose when two learners read one stream, and what is asked a second time. */
import { createMemoryBus, subjects } from "@oarlock/bus";
import {
  NamedRewardSchema,
  TrajectoryBatchSchema,
  TrajectorySchema,
  create,
  fromBinary,
  toBinary,
} from "@oarlock/proto";
import type { RolloutWork, Trajectory } from "@oarlock/proto";
import { silentLog, silentTracer, systemClock } from "@oarlock/runtime";
import { describe, expect, onTestFinished, test } from "vitest";
import { createGroupTraces } from "./group-traces.ts";
import { createRollouts } from "./rollouts.ts";

const names = subjects("rollouts-1");

/** A conductor of incarnation 1 that reads, its stream, and the end of its reading. */
async function open(said: string[] = []) {
  const bus = createMemoryBus();
  onTestFinished(() => bus.close());
  const limits = { retention: "work-queue", maxMessages: 100, maxBytes: 1_000_000 } as const;
  const work = await bus.stream({ name: names.workStream, subjects: [names.workRollout], ...limits });
  const stream = await bus.stream({
    name: names.trajectoryStream,
    subjects: [names.trajectoryGenerated, names.trajectoryScored],
    ...limits,
  });
  const reader = { ackWaitMs: 5_000, maxAckPending: 100 } as const;
  const scored = await stream.consumer({ name: "learner", filterSubject: names.trajectoryScored, ...reader });
  const generated = await stream.consumer({
    name: "reward-workers",
    filterSubject: names.trajectoryGenerated,
    ...reader,
  });
  const destination = { driver: bus.driver, runUid: names.uid, subject: names.workRollout, stream: "work" };
  const rollouts = createRollouts({
    uid: names.uid,
    incarnation: 1,
    fingerprint: "f",
    work,
    workSubject: names.workRollout,
    generated: stream,
    generatedSubject: names.trajectoryGenerated,
    mostGroups: 1,
    scored,
    describe: (): RolloutWork => {
      throw new Error("nothing is issued");
    },
    isScored: () => true,
    referenceOf: () => undefined,
    criticOf: () => undefined,
    stall: { warnMs: 500, stopMs: 2_000 },
    onStalled: (message) => void said.push(message),
    heldUp: () => "",
    traces: createGroupTraces({ tracer: silentTracer, work: destination, scored: destination }),
    queueWait: () => undefined,
    clock: systemClock,
    log: silentLog,
  });
  const giveUp = new AbortController();
  onTestFinished(() => giveUp.abort());
  const reading = rollouts.run(giveUp.signal);
  reading.catch(() => undefined);
  return { rollouts, stream, scored, generated, reading, giveUp };
}

const group = { runUid: names.uid, stage: 0, step: 0, group: 0, draw: 0 };
const policy = { version: 0, digest: "d" };
const trajectory = {
  group,
  tokenIds: [1, 2],
  promptLength: 1,
  behaviourLogprobs: new Uint8Array(4),
  segments: [{ start: 1, end: 2, policy }],
};
const name = { purpose: "rollout", stage: 0, step: 0 } as const;

test("F1: a superseded learner takes nothing that its successor waits for, and ends", async () => {
  const { rollouts, stream, scored, reading, giveUp } = await open();
  const ended = expect(reading).rejects.toMatchObject({ code: "LEARNER_SUPERSEDED" });
  const batch = create(TrajectoryBatchSchema, { group, incarnation: 2, trajectories: [trajectory] });
  await stream.publish(names.trajectoryScored, toBinary(TrajectoryBatchSchema, batch));
  await ended;
  giveUp.abort();
  await expect(rollouts.collect(name, new AbortController().signal)).rejects.toMatchObject({
    code: "LEARNER_SUPERSEDED",
  });
  expect((await scored.next({ timeoutMs: 1_000 }))?.data).toHaveLength(
    toBinary(TrajectoryBatchSchema, batch).length,
  );
});

test("L1, D1b: where all follow another plan, status says so at once, and so does what a stalled run ends with", async () => {
  const said: string[] = [];
  const { rollouts, stream, reading, giveUp } = await open(said);
  const tell = (incarnation: number, instance: string) => {
    const batch = create(TrajectoryBatchSchema, { incarnation, otherPlan: { instance, planDigest: "g" } });
    return stream.publish(names.trajectoryScored, toBinary(TrajectoryBatchSchema, batch));
  };
  // Whoever was asked by the learner before this one may have followed that one's plan.
  await tell(0, "actor-9");
  await tell(1, "actor-0");
  const cause = "this run's plan is f, and who follows another hands its work back: actor-0 (plan g)";
  await expect.poll(() => rollouts.waits()).toContain(cause);
  const ended = rollouts.collect(name, giveUp.signal);
  await expect(ended).rejects.toThrow(/\[STALLED\] nothing moved for \d s: .*actor-0 \(plan g\)$/);
  expect(said[0]).toContain(cause);
  expect((await stream.info()).messages).toBe(0);
  giveUp.abort();
  await reading;
});

describe("a group that is judged again", () => {
  const given = (scorerVersion: string, value: number) =>
    create(NamedRewardSchema, {
      name: "mine",
      scorerVersion,
      verdict: { case: "scored", value: { values: [value] } },
    });
  const knownOf = (index: number): Trajectory[] =>
    [0, 1].map((sample) => {
      const place = { group: { ...group, group: index }, sample };
      return create(TrajectorySchema, { ...trajectory, ...place, rewards: [given("1", 5)] });
    });
  const known = knownOf(0);
  const questions = [{ group: known, pins: new Map([["mine", "2"]]) }];

  test("W2: goes to the reward workers with its pins; of what comes back the verdicts alone count, and those of its learner", async () => {
    const { rollouts, stream, generated } = await open();
    const judged = rollouts.judgeAgain(questions, AbortSignal.timeout(20_000));
    const message = await generated.next({ timeoutMs: 10_000 });
    const asked = fromBinary(TrajectoryBatchSchema, message?.data ?? new Uint8Array());
    expect(asked).toMatchObject({
      again: true,
      incarnation: 1,
      planDigest: "f",
      scorers: [{ name: "mine", version: "2" }],
    });
    expect(asked.trajectories.map(({ rewards }) => rewards)).toEqual([[], []]);
    const answer = async (incarnation: number, value: number): Promise<void> => {
      const trajectories = asked.trajectories
        .map((one) => ({ ...one, tokenIds: [9, 9], rewards: [given("2", value + one.sample)] }))
        .toReversed();
      const data = toBinary(TrajectoryBatchSchema, { ...asked, incarnation, trajectories });
      await stream.publish(names.trajectoryScored, data);
    };
    await answer(0, 70);
    await answer(1, 7);
    const expected = known.map((one) => ({ ...one, rewards: [given("2", 7 + one.sample)] }));
    expect(await judged).toEqual([expected]);
    expect(rollouts.newestVersion("mine")).toBe("2");
  });

  test("Q1: is one of so many at a time: the next are asked about when these are answered", async () => {
    const { rollouts, stream, generated } = await open();
    const two = [...questions, { group: knownOf(1), pins: new Map<string, string>() }];
    const judged = rollouts.judgeAgain(two, AbortSignal.timeout(20_000));
    for (const index of [0, 1]) {
      const message = await generated.next({ timeoutMs: 10_000 });
      await message?.ack();
      const asked = fromBinary(TrajectoryBatchSchema, message?.data ?? new Uint8Array());
      expect(asked.group?.group).toBe(index);
      expect(await generated.next({ timeoutMs: 50 })).toBeUndefined();
      await stream.publish(names.trajectoryScored, toBinary(TrajectoryBatchSchema, asked));
    }
    expect((await judged).map(([first]) => first?.group?.group)).toEqual([0, 1]);
  });

  test("L1: does not wait for a message that was parked", async () => {
    const { rollouts, generated } = await open();
    const judged = rollouts.judgeAgain(questions, AbortSignal.timeout(20_000));
    expect(await generated.next({ timeoutMs: 10_000 })).toBeDefined();
    rollouts.parked({ msgId: `${names.uid}/0/0/0/0/1/rollout/again/scored`, reason: "unreadable" });
    await expect(judged).rejects.toMatchObject({ code: "GROUP_LOST" });
  });
});
