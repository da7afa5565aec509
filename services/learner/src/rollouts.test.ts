/** The conductor on the memory bus: what is whose when two learners read one stream. */
import { createMemoryBus, subjects } from "@oarlock/bus";
import { TrajectoryBatchSchema, create, toBinary } from "@oarlock/proto";
import type { RolloutWork } from "@oarlock/proto";
import { silentLog, silentTracer, systemClock } from "@oarlock/runtime";
import { expect, onTestFinished, test } from "vitest";
import { createGroupTraces } from "./group-traces.ts";
import { createRollouts } from "./rollouts.ts";

const names = subjects("rollouts-1");

/** A conductor that issues nothing, and the stream that its messages come through. */
async function conductor() {
  const bus = createMemoryBus();
  onTestFinished(() => bus.close());
  const limits = { retention: "work-queue", maxMessages: 100, maxBytes: 1_000_000 } as const;
  const work = await bus.stream({ name: names.workStream, subjects: [names.workRollout], ...limits });
  const stream = await bus.stream({
    name: names.trajectoryStream,
    subjects: [names.trajectoryScored],
    ...limits,
  });
  const scored = await stream.consumer({ name: "learner", ackWaitMs: 5_000, maxAckPending: 100 });
  const destination = { driver: bus.driver, runUid: names.uid, subject: names.workRollout, stream: "work" };
  const first = createRollouts({
    uid: names.uid,
    incarnation: 1,
    fingerprint: "f",
    work,
    workSubject: names.workRollout,
    scored,
    describe: (): RolloutWork => {
      throw new Error("nothing is issued");
    },
    isScored: () => true,
    stall: { warnMs: 10_000, stopMs: 20_000 },
    onStalled: () => undefined,
    heldUp: () => "",
    traces: createGroupTraces({ tracer: silentTracer, work: destination, scored: destination }),
    queueWait: () => undefined,
    clock: systemClock,
    log: silentLog,
  });
  return { first, stream, scored };
}

test("F1: a superseded learner takes nothing that its successor waits for, and ends", async () => {
  const { first, stream, scored } = await conductor();
  const giveUp = new AbortController();
  onTestFinished(() => giveUp.abort());
  const reading = first.run(giveUp.signal);
  const ended = expect(reading).rejects.toMatchObject({ code: "LEARNER_SUPERSEDED" });
  const group = { runUid: names.uid, stage: 0, step: 0, group: 0, draw: 0 };
  const policy = { version: 0, digest: "d" };
  const trajectory = {
    tokenIds: [1, 2],
    promptLength: 1,
    behaviourLogprobs: new Uint8Array(4),
    segments: [{ start: 1, end: 2, policy }],
  };
  const batch = create(TrajectoryBatchSchema, { group, incarnation: 2, trajectories: [trajectory] });
  await stream.publish(names.trajectoryScored, toBinary(TrajectoryBatchSchema, batch));
  await ended;
  giveUp.abort();
  const name = { purpose: "rollout", stage: 0, step: 0 } as const;
  await expect(first.collect(name, new AbortController().signal)).rejects.toMatchObject({
    code: "LEARNER_SUPERSEDED",
  });
  expect((await scored.next({ timeoutMs: 1_000 }))?.data).toHaveLength(
    toBinary(TrajectoryBatchSchema, batch).length,
  );
});

test("a learner that is told to end gives a batch up that nobody makes any more", async () => {
  const { first } = await conductor();
  const name = { purpose: "rollout", stage: 0, step: 0 } as const;
  const { signal } = new AbortController();
  const waiting = first.collect(name, signal);
  first.abandon();
  await expect(waiting).rejects.toMatchObject({ code: "STEP_ABANDONED" });
  await expect(first.collect(name, signal)).rejects.toMatchObject({ code: "STEP_ABANDONED" });
});
