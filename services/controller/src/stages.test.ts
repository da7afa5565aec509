/** What a run of several stages says of the one that it is in. */
import { describe, expect, it } from "vitest";
import { conditionOf, type KubeObject } from "@oarlock/kube";
import type { Job, Pod } from "./api.ts";
import { newWorld, report, running, servingPod, type World } from "./world.ts";

const task = { type: "task", task: { name: "addition" } } as const;
const STAGES = {
  stages: [
    { name: "style", type: "sft", sft: { data: task, steps: 10 } },
    { name: "judge", type: "reward-model", "reward-model": { data: task, steps: 20 } },
    {
      name: "please",
      type: "ppo",
      ppo: {
        data: task,
        steps: 30,
        rewards: [{ name: "preferred", type: "model", model: { from: "stage/judge" } }],
      },
    },
  ],
} as const satisfies Parameters<typeof newWorld>[0];

const staged = (): World => running(STAGES);
const said = (world: World): string | undefined =>
  conditionOf(world.run.status?.conditions ?? [], "Ready")?.message;
const bornAt = (pod: Pod, creationTimestamp: string): Pod => ({
  ...pod,
  metadata: { ...pod.metadata, creationTimestamp },
});
/** A learner's pod that left these words. */
const crashed = (message: string, exitCode = 1): Pod => ({
  ...servingPod("learner"),
  status: {
    phase: "Failed",
    containerStatuses: [{ ready: false, restartCount: 0, state: { terminated: { exitCode, message } } }],
  },
});
const at = (world: World, stage: number, step: number): void => {
  world.more = { report: { ...report, stage, step } };
};

describe("the stage of a run", () => {
  it("is named with its place, and so is who waits in one without rollouts", () => {
    const world = staged();
    at(world, 1, 3);
    world.settle();
    expect(said(world)).toBe(
      "stage judge (reward-model), 2 of 3: the learner trains alone, 1 actor and 1 reward worker wait for rollouts",
    );
    at(world, 2, 0);
    world.settle();
    expect(said(world)).toBe("stage please (ppo), 3 of 3: learner, 1 actor and 1 reward worker serve");
  });

  it("says that a stage learns alone but for its evaluations, which need the other pods", () => {
    const evaluation = { data: task, rewards: [{ name: "answer", type: "exact" }] } as const;
    const world = running({ ...STAGES, evaluation });
    at(world, 0, 3);
    world.settle();
    expect(said(world)).toBe(
      "stage style (sft), 1 of 3: the learner trains, 1 actor and 1 reward worker serve its evaluations",
    );
    world.pods = world.pods.filter(({ metadata }) => metadata.labels?.["oarlock.dev/role"] !== "actor");
    world.settle();
    expect(said(world)?.endsWith("; no evaluation ends without an actor")).toBe(true);
    at(world, 1, 3);
    world.settle();
    expect(said(world)).toContain("the learner trains alone, 0 actors");
  });

  it.each([
    ["actor", "; no step ends without an actor"],
    ["reward", "; no step ends without a reward worker"],
  ])("says that it waits for the pods of %s where there are none", (role, words) => {
    const world = staged();
    at(world, 2, 4);
    world.pods = world.pods.filter(({ metadata }) => metadata.labels?.["oarlock.dev/role"] !== role);
    world.settle();
    expect(said(world)?.endsWith(words)).toBe(true);
    at(world, 0, 4);
    world.settle();
    expect(said(world)).not.toContain("no step ends");
  });

  it("stays named while the learner does not answer, and the pause is explained where it has no pod", () => {
    const world = staged();
    at(world, 1, 3);
    world.settle();
    world.more = {};
    world.settle();
    expect(said(world)).toContain("stage judge (reward-model), 2 of 3");
    world.pods = [];
    world.settle();
    expect(said(world)).toBe(
      "the learner's pod is being made; after one that ended its Job pauses, 10 s at first, twice as long each time, 10 min at most",
    );
    const fresh = newWorld(STAGES);
    fresh.settle();
    expect(said(fresh)).toBe("the learner's pod is being made");
  });

  it("is an event when it begins, and only then", () => {
    const world = staged();
    const begins = (): readonly string[] =>
      world.step().events.flatMap(({ reason, message }) => (reason === "StageStarted" ? [message] : []));
    at(world, 0, 9);
    world.settle();
    at(world, 1, 0);
    expect(begins()).toEqual(["stage judge (reward-model), 2 of 3"]);
    expect(begins()).toEqual([]);
    at(world, 1, 1);
    expect(begins()).toEqual([]);
    const fresh = newWorld(STAGES);
    fresh.settle();
    fresh.pods = [servingPod("learner")];
    at(fresh, 0, 0);
    expect(fresh.step().events).toContainEqual(
      expect.objectContaining({
        type: "Normal",
        reason: "StageStarted",
        message: "stage style (sft), 1 of 3",
      }),
    );
  });

  it("has the numbers of a reward model while one is trained, and its verdict afterwards", () => {
    const world = staged();
    const metrics = { "train/loss": 0.6, "reward_model/accuracy": 0.75, "reward_model/grad_norm": 2 };
    world.more = { report: { ...report, stage: 1, step: 5, metrics } };
    world.settle();
    expect(world.run.status?.metrics).toEqual([
      { name: "loss", value: "0.6" },
      { name: "accuracy", value: "0.75" },
      { name: "grad_norm", value: "2" },
    ]);
    const later = { "critic/score/mean": 1, "val-core/held-out/judge/accuracy": 0.812_34 };
    world.more = { report: { ...report, stage: 2, step: 1, metrics: later } };
    world.settle();
    expect(world.run.status?.metrics).toEqual([
      { name: "reward_mean", value: "1" },
      { name: "held_out_accuracy_judge", value: "0.8123" },
    ]);
  });

  it("GateNotPassed: a reward model that knows too little ends the run under the gate's own name", () => {
    const world = staged();
    const job = world.child<Job>("Job", "learner");
    const condition = { type: "Failed", status: "True", reason: "PodFailurePolicy" };
    world.children.set("Job/demo-learner", { ...job, status: { conditions: [condition] } } as KubeObject);
    // Its Job may be known to have failed before its pod is known to have ended.
    world.pods = [];
    world.settle();
    const message = "[GATE_NOT_PASSED] stage judge: the held-out accuracy is 0.4915";
    const ended = crashed(message, 3);
    const before = crashed("an earlier one, which was tried again");
    // In no order, as informers give them.
    world.pods = [bornAt(ended, "2026-01-01T10:00:00Z"), bornAt(before, "2026-01-01T09:59:59Z")];
    world.settle();
    const failed = (): unknown => conditionOf(world.run.status?.conditions ?? [], "Failed");
    expect(failed()).toMatchObject({ status: "True", reason: "GateNotPassed", message });
    const first = failed();
    // Pods are collected; the newest may go before the others.
    for (const left of [[before], []]) {
      world.pods = left;
      world.settle();
      expect(failed()).toEqual(first);
    }
  });
});
