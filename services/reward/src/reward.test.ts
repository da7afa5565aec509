/** The reward worker on the memory bus: whose work it does not judge. */
import { createMemoryBus, subjects } from "@oarlock/bus";
import { TrajectoryBatchSchema, create, fromBinary, toBinary } from "@oarlock/proto";
import { silentLog, silentTelemetry, systemClock } from "@oarlock/runtime";
import { createPlanRefusal } from "@oarlock/workload";
import { expect, onTestFinished, test } from "vitest";
import { rewardRecorders } from "./metrics.ts";
import { createReward } from "./reward.ts";

const names = subjects("reward-1");

test("D1b: what another plan's scorers shall judge stays for them, and the learner hears of it", async () => {
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
  const planDigest = "mine";
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
  const learner = await stream.consumer({
    ...consumer,
    name: "learner",
    filterSubject: names.trajectoryScored,
  });
  const group = { runUid: names.uid, stage: 0, step: 0, group: 0, draw: 0 };
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
