/** The conductor on the memory bus: what is whose when two learners read one stream. */
import { createMemoryBus, subjects } from "@oarlock/bus";
import { TrajectoryBatchSchema, create, toBinary } from "@oarlock/proto";
import type { RolloutWork } from "@oarlock/proto";
import { silentLog, silentTracer, systemClock } from "@oarlock/runtime";
import { expect, onTestFinished, test } from "vitest";
import { createGroupTraces } from "./group-traces.ts";
import { createRollouts } from "./rollouts.ts";

const names = subjects("rollouts-1");

/** A learner's conductor that has issued nothing, and the stream that it reads. */
async function reading(said: string[] = []) {
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
  const rollouts = createRollouts({
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
  return { rollouts, stream, scored, giveUp };
}

test("F1: a superseded learner takes nothing that its successor waits for, and ends", async () => {
  const { rollouts: first, stream, scored, giveUp } = await reading();
  const ended = expect(first.run(giveUp.signal)).rejects.toMatchObject({ code: "LEARNER_SUPERSEDED" });
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

test("L1, D1b: where all follow another plan, status says so at once, and so does what a stalled run ends with", async () => {
  const said: string[] = [];
  const { rollouts, stream, giveUp } = await reading(said);
  const running = rollouts.run(giveUp.signal);
  const tell = (incarnation: number, instance: string) => {
    const batch = create(TrajectoryBatchSchema, { incarnation, otherPlan: { instance, planDigest: "g" } });
    return stream.publish(names.trajectoryScored, toBinary(TrajectoryBatchSchema, batch));
  };
  // Whoever was asked by the learner before this one may have followed that one's plan.
  await tell(0, "actor-9");
  await tell(1, "actor-0");
  const cause = "this run's plan is f, and who follows another hands its work back: actor-0 (plan g)";
  await expect.poll(() => rollouts.waits()).toContain(cause);
  const name = { purpose: "rollout", stage: 0, step: 0 } as const;
  const ended = rollouts.collect(name, giveUp.signal);
  await expect(ended).rejects.toThrow(/\[STALLED\] nothing moved for \d s: .*actor-0 \(plan g\)$/);
  expect(said[0]).toContain(cause);
  expect((await stream.info()).messages).toBe(0);
  giveUp.abort();
  await running;
});
