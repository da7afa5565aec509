/** Runs in a queue of Kueue's: learner, least actors and least reward workers together, the others one by one. */
import { describe, expect, it } from "vitest";
import { conditionOf } from "@oarlock/kube";
import type { RunSpec } from "@oarlock/runfile";
import type { Deployment, Job, Pod } from "./api.ts";
import { isQuiet, newWorld, servingPod, type World } from "./world.ts";

interface Owner {
  readonly spec: {
    readonly replicas?: number;
    readonly selector?: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly template: {
      readonly metadata: {
        readonly labels: Readonly<Record<string, string>>;
        readonly annotations: Readonly<Record<string, string>>;
      };
    };
  };
}

const QUEUE = { "kueue.x-k8s.io/queue-name": "team", "kueue.x-k8s.io/priority-class": "high", other: "x" };
const ROLES: Partial<RunSpec> = {
  roles: [
    { name: "actor", replicas: 5, minReplicas: 2 },
    { name: "reward", replicas: 1 },
  ],
};

function queuedRun(labels: Readonly<Record<string, string>> = QUEUE): World {
  const world = newWorld(ROLES);
  world.run = { ...world.run, metadata: { ...world.run.metadata, labels } };
  world.settle();
  return world;
}

/** Its learner, at Kueue's gate or past it. */
function learner(gated: boolean): Pod {
  const pod = servingPod("learner");
  const labels = { ...pod.metadata.labels, "kueue.x-k8s.io/pod-group-name": "demo-group-0" };
  const scheduled = gated
    ? { type: "PodScheduled", status: "False", reason: "SchedulingGated" }
    : { type: "PodScheduled", status: "True" };
  return {
    ...pod,
    metadata: { ...pod.metadata, labels },
    status: { phase: "Pending", conditions: [scheduled] },
  };
}

/** Of a pod that is about to end. */
const leaves = { deletionTimestamp: "2026-01-01T00:01:00Z" };

/** The groups that learner, actors and reward workers are made for. */
const groups = (world: World): readonly unknown[] =>
  ["learner", "actor", "reward"].map(
    (part) => owner(world, part)?.spec.template.metadata.labels["kueue.x-k8s.io/pod-group-name"],
  );

/** A pod that serves in the group that there is, on its way to the end or not. */
function member(world: World, role: "learner" | "actor" | "reward", more: object = {}): Pod {
  const pod = servingPod(role);
  const { labels } = owner(world, role)!.spec.template.metadata;
  const ownerReferences = [{ apiVersion: "batch/v1", kind: "Job", name: "demo-learner", uid: "job-1" }];
  return {
    ...pod,
    spec: { nodeName: "far" },
    metadata: { ...pod.metadata, ownerReferences, labels: { ...pod.metadata.labels, ...labels }, ...more },
  };
}

const owner = (world: World, part: string) =>
  world.child<Owner>(part === "learner" ? "Job" : "Deployment", part);

describe("a run with a queue", () => {
  it.each(["learner", "actor", "reward"])(
    "has its %s in one group of learner, least actors and least reward workers",
    (part) => {
      const { metadata } = owner(queuedRun(), part)!.spec.template;
      expect(metadata.labels).toMatchObject({
        "kueue.x-k8s.io/queue-name": "team",
        "kueue.x-k8s.io/priority-class": "high",
        "kueue.x-k8s.io/pod-group-name": expect.stringMatching(/^demo-group-[0-9a-f]{8}$/),
      });
      expect(metadata.labels).not.toHaveProperty("other");
      expect(metadata.annotations["kueue.x-k8s.io/pod-group-total-count"]).toBe("4");
    },
  );

  it("has the pods beyond in a Deployment of their own, in the queue and in no group", () => {
    const world = queuedRun();
    world.pods = [learner(false)];
    world.settle();
    const extra = owner(world, "actor-extra")!.spec;
    expect([owner(world, "actor")!.spec.replicas, extra.replicas]).toEqual([2, 3]);
    expect([owner(world, "reward")!.spec.replicas, owner(world, "reward-extra")!.spec.replicas]).toEqual([
      1, 0,
    ]);
    const { labels, annotations } = extra.template.metadata;
    expect(labels).toMatchObject({ "kueue.x-k8s.io/queue-name": "team", ...extra.selector?.matchLabels });
    expect(extra.selector?.matchLabels).toMatchObject({ "oarlock.dev/part": "extra" });
    expect(JSON.stringify({ labels, annotations })).not.toContain("pod-group");
    expect(isQuiet(world.step())).toBe(true);
  });

  it("asks for no pod beyond before the group is admitted, nor when it is taken back: it could take what the group lacks", () => {
    const world = queuedRun();
    const beyond = (): unknown => owner(world, "actor-extra")?.spec.replicas;
    expect(beyond()).toBe(0);
    world.pods = [learner(true)];
    world.settle();
    expect(beyond()).toBe(0);
    world.pods = [learner(false)];
    world.settle();
    expect(beyond()).toBe(3);
    world.pods = [learner(true)];
    world.settle();
    expect(beyond()).toBe(0);
  });

  it("counts the pods of both, and takes the extra ones away first", () => {
    const world = queuedRun();
    world.pods = [learner(false)];
    world.settle();
    for (const part of ["actor", "actor-extra"]) {
      const present = world.child<Deployment>("Deployment", part)!;
      const status = { replicas: 2, readyReplicas: 2, updatedReplicas: 2 };
      const counted: Deployment = { ...present, status };
      world.children.set(`Deployment/demo-${part}`, counted);
    }
    world.settle();
    expect(world.pool("actor")?.status).toMatchObject({ replicas: 4, readyReplicas: 4 });
    world.run = {
      ...world.run,
      spec: { ...world.run.spec, roles: [{ name: "actor", replicas: 3, minReplicas: 2 }] },
    };
    world.settle();
    expect([owner(world, "actor")!.spec.replicas, owner(world, "actor-extra")!.spec.replicas]).toEqual([
      2, 1,
    ]);
    world.run = { ...world.run, spec: { ...world.run.spec, suspend: true } };
    // Gone: until then others have to generate for it.
    world.pods = [];
    world.settle();
    expect([owner(world, "actor")!.spec.replicas, owner(world, "actor-extra")!.spec.replicas]).toEqual([
      0, 0,
    ]);
    expect(world.child<Job>("Job", "learner")?.spec?.suspend).toBe(true);
  });

  it("is another group where its pods or their number are others, which comes when the first has ended (K1)", () => {
    const world = queuedRun();
    const [first] = groups(world);
    const job = world.children.get("Job/demo-learner")!;
    world.pods = [servingPod("learner")];
    world.settle();
    world.run = {
      ...world.run,
      spec: { ...world.run.spec, roles: [{ name: "actor", replicas: 5, minReplicas: 3 }] },
    };
    expect(world.step().remove).toEqual([job]);
    // Until its pod has ended the Job stays, and so does who generates for its last step.
    world.children.set("Job/demo-learner", {
      ...job,
      metadata: { ...job.metadata, deletionTimestamp: "now" },
    });
    world.settle();
    expect(groups(world)).toEqual([first, first, first]);
    world.pods = [{ ...servingPod("learner"), status: { phase: "Failed" } }];
    world.settle();
    const [, second] = groups(world);
    expect(second).not.toBe(first);
    expect(groups(world)).toEqual([first, second, second]);
    world.children.delete("Job/demo-learner");
    world.settle();
    expect(groups(world)).toEqual([second, second, second]);
    expect(owner(world, "actor")?.spec).toMatchObject({
      replicas: 3,
      strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 0, maxUnavailable: "100%" } },
      template: { metadata: { annotations: { "kueue.x-k8s.io/pod-group-total-count": "5" } } },
    });
  });

  it("makes no pod in the place of one that has yet to end (K4)", () => {
    const world = queuedRun();
    world.pods = [member(world, "learner"), member(world, "actor", leaves), member(world, "reward")];
    world.settle();
    expect(owner(world, "actor")?.spec.replicas).toBe(1);
    expect(owner(world, "reward")?.spec.replicas).toBe(1);
    // One that was made in its place nevertheless, and that Kueue deletes, is not counted: another would go for it.
    world.pods = [...world.pods, { ...member(world, "actor", leaves), spec: {} }];
    world.settle();
    expect(owner(world, "actor")?.spec.replicas).toBe(1);
    // Ended, it is replaced, though it stays until then (K3).
    world.pods = [world.pods[0]!, { ...world.pods[1]!, status: { phase: "Failed" } }];
    world.settle();
    expect(owner(world, "actor")?.spec.replicas).toBe(2);
  });

  describe("whose node is lost", () => {
    /** Of the pods of those roles nobody will say that they ended. */
    const lose = (world: World, ...roles: readonly ("learner" | "actor" | "reward")[]): void => {
      const all = (["learner", "actor", "reward"] as const).map((role) => member(world, role));
      const is = (pod: Pod): boolean =>
        roles.some((role) => pod.metadata.labels?.["oarlock.dev/role"] === role);
      const job = world.children.get("Job/demo-learner")!;
      world.children.set("Job/demo-learner", { ...job, metadata: { ...job.metadata, uid: "job-1" } });
      world.pods = all.filter((pod) => !is(pod));
      world.more = {
        lost: all.filter(is).map((pod) => ({ ...pod, metadata: { ...pod.metadata, ...leaves } })),
        silentNodes: new Set(["far"]),
      };
    };

    it("is another group, once, which stays when the lost pods are gone: they keep their places in theirs (K4)", () => {
      const world = queuedRun();
      const [first] = groups(world);
      lose(world, "learner", "actor", "reward");
      world.settle();
      expect(groups(world)).toEqual(Array.from({ length: 3 }, () => `${String(first)}-1`));
      expect(owner(world, "actor")?.spec.replicas).toBe(2);
      world.more = {};
      world.settle();
      expect(groups(world)).toEqual(Array.from({ length: 3 }, () => `${String(first)}-1`));
      lose(world, "learner");
      world.settle();
      expect(groups(world)).toEqual(Array.from({ length: 3 }, () => `${String(first)}-2`));
    });

    it("is the same while its learner and one of each of the others live", () => {
      const world = queuedRun();
      const [first] = groups(world);
      lose(world, "actor");
      world.pods = [...world.pods, member(world, "actor")];
      world.settle();
      expect(groups(world)).toEqual([first, first, first]);
      expect(owner(world, "actor")?.spec.replicas).toBe(1);
    });

    it("F1: is the same where its run folder is lost with it", () => {
      const world = queuedRun();
      const storage = { type: "emptyDir", emptyDir: { acceptLoss: true } } as const;
      world.run = { ...world.run, spec: { ...world.run.spec, storage } };
      world.settle();
      const [first] = groups(world);
      lose(world, "learner", "actor", "reward");
      world.settle();
      expect(groups(world)).toEqual([first, first, first]);
    });
  });

  it("has actors and reward workers that end as failed when they are told to: only those are replaced (K2)", () => {
    const world = queuedRun();
    const text = (part: string): string => JSON.stringify(owner(world, part));
    expect(
      ["actor", "actor-extra", "reward"].map((part) => text(part).includes("OARLOCK_END_INTERRUPTED")),
    ).toEqual([true, true, true]);
    expect(text("learner")).not.toContain("OARLOCK_END_INTERRUPTED");
    expect(JSON.stringify(owner(queuedRun({}), "actor"))).not.toContain("OARLOCK_END_INTERRUPTED");
  });

  it("says that it waits for quota while its pods are gated", () => {
    const world = queuedRun();
    world.pods = [learner(true)];
    world.settle();
    const ready = conditionOf(world.run.status?.conditions ?? [], "Ready");
    expect(ready).toMatchObject({ status: "False", reason: "WaitingForQuota" });
    expect(ready?.message).toContain("queue team");
  });
});

it("a run without a queue has no second Deployment and nothing of Kueue's", () => {
  const world = queuedRun({});
  expect(owner(world, "actor-extra")).toBeUndefined();
  expect(owner(world, "actor")?.spec.replicas).toBe(5);
  expect(JSON.stringify([...world.children.values()])).not.toContain("kueue");
});
