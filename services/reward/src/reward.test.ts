/** The reward worker on the memory bus: what it does not judge. */
import { createMemoryBus, subjects } from "@oarlock/bus";
import { TrajectoryBatchSchema, TrajectorySchema, create, fromBinary, toBinary } from "@oarlock/proto";
import { silentLog, silentTelemetry, systemClock } from "@oarlock/runtime";
import { createPlanRefusal } from "@oarlock/workload";
import { expect, onTestFinished, test } from "vitest";
import { rewardRecorders } from "./metrics.ts";
import { createReward } from "./reward.ts";

const names = subjects("reward-1");
const planDigest = "mine";
const group = { runUid: names.uid, stage: 0, step: 0, group: 0, draw: 0 };

/** A reward worker that has a plan and no scorers, and what it reads and writes. */
async function openReward() {
  const bus = createMemoryBus();
  onTestFinished(() => bus.close());
  const stream = await bus.stream({
    name: names.trajectoryStream,
    subjects: [names.trajectoryGenerated, names.trajectoryScored],
    retention: "work-queue",
    maxMessages: 100,
    maxBytes: 1_000_000,
  });
  const consumer = { ackWaitMs: 5_000, maxAckPending: 100 };
  const { tracer, meter } = silentTelemetry;
  const destination = {
    driver: bus.driver,
    runUid: names.uid,
    subject: names.trajectoryGenerated,
    stream: names.trajectoryStream,
  };
  const place = { stream, subject: names.trajectoryScored, clock: systemClock, log: silentLog };
  const reward = createReward({
    // Of which there are none: a batch that came as far as them would be parked.
    scorers: { stages: new Map(), evaluation: undefined },
    decoder: { decode: () => "" },
    generated: await stream.consumer({
      ...consumer,
      name: "reward",
      filterSubject: names.trajectoryGenerated,
    }),
    scored: stream,
    scoredSubject: names.trajectoryScored,
    planDigest,
    refuseOtherPlan: createPlanRefusal({ instance: "reward-0", planDigest, ...place }),
    telemetry: { tracer, recorders: rewardRecorders(meter), generated: destination, scored: destination },
    log: silentLog,
  });
  return { stream, consumer, reward };
}

test("D1b: what another plan's scorers shall judge stays for them, and the learner hears of it", async () => {
  const { stream, consumer, reward } = await openReward();
  const learner = await stream.consumer({
    ...consumer,
    name: "learner",
    filterSubject: names.trajectoryScored,
  });
  const trajectories = [{ group, tokenIds: [1, 2], promptLength: 1 }];
  const batch = create(TrajectoryBatchSchema, { group, incarnation: 3, trajectories, planDigest: "another" });
  const stop = new AbortController();
  const running = reward.run(stop.signal);
  await stream.publish(names.trajectoryGenerated, toBinary(TrajectoryBatchSchema, batch));
  const heard = await learner.next({ timeoutMs: 4_000 });
  expect(fromBinary(TrajectoryBatchSchema, heard?.data ?? new Uint8Array())).toMatchObject({
    incarnation: 3,
    otherPlan: { instance: "reward-0", planDigest },
    trajectories: [],
  });
  await heard?.ack();
  await expect.poll(() => reward.state().batchesHandedBack, { timeout: 4_000 }).toBe(1);
  stop.abort();
  await running;
  expect(reward.state()).toMatchObject({ trajectoriesScored: 0, batchesParked: 0 });
  expect((await stream.info()).messages).toBe(1);
});

test("S1: a batch in which rewards may hide is parked", async () => {
  const { stream, reward } = await openReward();
  const trajectories = [{ group, rewards: [{ name: "forged" }] }];
  // Whoever reads it hands it back.
  const planDigest = "another";
  const data = toBinary(
    TrajectoryBatchSchema,
    create(TrajectoryBatchSchema, { group, trajectories, planDigest }),
  );
  // The field's tag says that a number follows, and the decoder does not mind.
  const { number } = TrajectorySchema.field.rewards;
  data[data.indexOf((number << 3) | 2)] = number << 3;
  expect(fromBinary(TrajectoryBatchSchema, data)).toMatchObject({ trajectories });
  const stop = new AbortController();
  const running = reward.run(stop.signal);
  await stream.publish(names.trajectoryGenerated, data);
  await expect.poll(() => reward.state().batchesParked, { timeout: 4_000 }).toBe(1);
  stop.abort();
  await running;
  expect(reward.state()).toMatchObject({ trajectoriesScored: 0, batchesHandedBack: 0 });
});
