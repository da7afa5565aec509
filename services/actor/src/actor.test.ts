/** The actor on the memory bus: what becomes of work whose time is over. */
import { createMemoryBus, subjects } from "@oarlock/bus";
import { openPolicyStore } from "@oarlock/checkpoint";
import { OarlockError } from "@oarlock/errors";
import {
  RolloutPurpose,
  RolloutWorkSchema,
  TrajectoryBatchSchema,
  create,
  fromBinary,
  toBinary,
} from "@oarlock/proto";
import { processWaits, silentLog, silentTelemetry, systemClock } from "@oarlock/runtime";
import { createPlanRefusal } from "@oarlock/workload";
import { expect, onTestFinished, test } from "vitest";
import { createActor } from "./actor.ts";
import { createCompanion } from "./companion.ts";
import { actorRecorders } from "./metrics.ts";

const names = subjects("actor-1");
const ACK_WAIT_MS = 5_000;

interface AtWork {
  readonly reference?: 0 | 1;
  readonly critic?: 0 | 1;
  /** Of a generator that can be loaded. */
  readonly submit?: () => Promise<never>;
}

/**
 * An actor of plan `f`, with a piece of work by one of two versions, the first withdrawn: nothing can be generated. `reference`
 * is one of them too, and of the critics, in their own store, `critic`.
 */
async function actorAtWork(
  fingerprintDigest: string,
  version: 0 | 1,
  { reference, critic, submit }: AtWork = {},
) {
  const bus = createMemoryBus();
  onTestFinished(() => bus.close());
  const limits = { retention: "work-queue", maxMessages: 100, maxBytes: 1_000_000 } as const;
  const work = await bus.stream({ name: names.workStream, subjects: [names.workRollout], ...limits });
  const answers = await bus.stream({
    name: names.trajectoryStream,
    subjects: [names.trajectoryGenerated, names.trajectoryScored],
    ...limits,
  });
  const store = { bus, uid: names.uid, configDigest: "c".repeat(64), maxBytes: 1 << 20 };
  const ofCritics = { ...store, uid: `${names.uid}_critic` };
  const publishTwo = async (into: typeof store) => {
    const learner = await openPolicyStore({ ...into, incarnation: 1 });
    const publish = (number: number) =>
      learner.publish({ number, weights: Float32Array.of(number, 1), stage: 0, step: number });
    const versions = [await publish(0), await publish(1)] as const;
    await learner.retain([versions[1]]);
    return versions;
  };
  const versions = await publishTwo(store);
  const criticVersions = await publishTwo(ofCritics);
  // As a dead actor leaves it: answered, trained on, and never acknowledged.
  const item = create(RolloutWorkSchema, {
    group: { runUid: names.uid, stage: 0, step: 0, group: 0, draw: 0 },
    incarnation: 1,
    fingerprintDigest,
    purpose: RolloutPurpose.ROLLOUT,
    sampleCount: 1,
    promptTokens: [1],
    policy: { version, digest: versions[version].digest },
    sampling: { maxNewTokens: 1 },
    ...(reference === undefined
      ? {}
      : { reference: { version: reference, digest: versions[reference].digest } }),
    ...(critic === undefined ? {} : { critic: { version: critic, digest: criticVersions[critic].digest } }),
  });
  await work.publish(names.workRollout, toBinary(RolloutWorkSchema, item));
  const unexpected = (): never => {
    throw new OarlockError("TEST_UNEXPECTED", "nothing can be generated");
  };
  const destination = {
    driver: bus.driver,
    runUid: names.uid,
    subject: names.workRollout,
    stream: names.workStream,
  };
  const { tracer, meter } = silentTelemetry;
  const policies = await openPolicyStore({ ...store, incarnation: 0 });
  const critics = await openPolicyStore({ ...ofCritics, incarnation: 0 });
  const companion = { open: unexpected, microBatchSizeOf: () => 1, capacity: 1, tracer };
  const actor = createActor({
    generator: {
      load: submit === undefined ? unexpected : async () => undefined,
      switchTo: unexpected,
      submit: submit ?? unexpected,
      plan: { slots: 1 } as Parameters<typeof createActor>[0]["generator"]["plan"],
    },
    policies,
    reference: createCompanion({
      ...companion,
      name: "reference",
      gives: "reference logprobs",
      source: policies,
    }),
    critic: createCompanion({ ...companion, name: "critic", gives: "values", source: critics }),
    critics,
    work: await work.consumer({ name: "actors", ackWaitMs: ACK_WAIT_MS, maxAckPending: 10 }),
    answers,
    answerSubject: names.trajectoryGenerated,
    provenance: { producedBy: "a", fingerprintDigest: "f", tokenizerDigest: "t", templateDigest: "c" },
    refuseOtherPlan: createPlanRefusal({
      instance: "actor-0",
      planDigest: "f",
      stream: answers,
      subject: names.trajectoryScored,
      clock: systemClock,
      log: silentLog,
    }),
    telemetry: {
      tracer,
      recorders: actorRecorders(meter),
      model: "m",
      work: destination,
      answers: destination,
    },
    log: silentLog,
  });
  const stop = new AbortController();
  const running = actor.run(stop.signal);
  const config = { name: "learner", ackWaitMs: ACK_WAIT_MS, maxAckPending: 10 };
  const learners = await answers.consumer({ ...config, filterSubject: names.trajectoryScored });
  return {
    actor,
    toLearner: async () => {
      const message = await learners.next({ timeoutMs: 4_000 });
      return message && fromBinary(TrajectoryBatchSchema, message.data);
    },
    messages: async () => (await work.info()).messages,
    parked: async () => (await work.info()).parked.map(({ reason }) => reason),
    end: async () => {
      stop.abort();
      await running;
    },
  };
}

test.each([
  ["this plan", "f"],
  ["another", "another"],
])("Q1: work of a version that its learner has withdrawn leaves the queue, of %s", async (_, plan) => {
  const { actor, messages, end } = await actorAtWork(plan, 0);
  await expect.poll(messages, { timeout: 4_000 }).toBe(0);
  await end();
  expect(actor.state()).toMatchObject({ groupsHandedBack: 0, itemsParked: 0 });
});

test.each([
  ["reference", { reference: 0 }],
  ["critic", { critic: 0 }],
] as const)("Q1: so does work whose %s is withdrawn, before anything is generated", async (_, beside) => {
  const { actor, messages, end } = await actorAtWork("f", 1, beside);
  await expect.poll(messages, { timeout: 4_000 }).toBe(0);
  await end();
  expect(actor.state()).toMatchObject({ groupsHandedBack: 0, itemsParked: 0 });
});

test.each(["GENERATION_REQUEST", "GENERATION_PARAMS", "RANDOM_KEY"])(
  "L1: work that no actor can do is parked with its reason, which the learner hears: %s",
  async (code) => {
    const submit = () => Promise.reject(new OarlockError(code, "token 64"));
    const { actor, messages, parked, end } = await actorAtWork("f", 1, { submit });
    await expect.poll(parked, { timeout: 4_000 }).toEqual([`[${code}] token 64`]);
    await end();
    expect(await messages()).toBe(0);
    expect(actor.state()).toMatchObject({ groupsHandedBack: 0, itemsParked: 1 });
  },
);

test("D1b: work of another plan stays there for other actors, and the actor's waits and the learner hear why", async () => {
  const { actor, messages, toLearner, end } = await actorAtWork("another", 1);
  const waits = (): string =>
    processWaits
      .open()
      .map(({ name }) => name)
      .join("\n");
  await expect.poll(waits).toMatch(/work is of plan another, actor-0 follows f/);
  const otherPlan = { instance: "actor-0", planDigest: "f" };
  expect(await toLearner()).toMatchObject({ incarnation: 1, otherPlan, trajectories: [] });
  await expect.poll(() => actor.state().groupsHandedBack, { timeout: 4_000 }).toBe(1);
  await end();
  expect(await messages()).toBe(1);
});
