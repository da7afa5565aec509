/** The decision as a table: situations, children, scaling, ends. Nothing is written where nothing changes. */
import { describe, expect, it } from "vitest";
import { conditionOf, type KubeObject } from "@oarlock/kube";
import type { Job } from "./api.ts";
import { FINALIZER, SKIP_CLEANUP_ANNOTATION } from "./names.ts";
import { isQuiet, newWorld, replicasOf, report, running, servingPod, type World } from "./world.ts";

const ready = (world: World) => conditionOf(world.run.status?.conditions ?? [], "Ready");
const holds = (world: World, type: string) =>
  conditionOf(world.run.status?.conditions ?? [], type)?.status === "True";
const jobWith = (world: World, status: object): void => {
  const job = world.child<Job>("Job", "learner");
  if (job !== undefined) world.children.set("Job/demo-learner", { ...job, status } as KubeObject);
};

describe("a new run", () => {
  it("gets its finalizer before anything else, then all children, then rest", () => {
    const world = newWorld();
    const first = world.step();
    expect(first.finalizers).toEqual([FINALIZER]);
    world.settle();
    expect([...world.children.keys()].toSorted()).toEqual(
      [
        ...["actor", "learner", "reward"].map((role) => `ServiceAccount/demo-${role}`),
        ...["actor", "learner", "reward"].map((role) => `Service/demo-${role}`),
        ...["actor", "reward"].flatMap((role) =>
          ["RolePool", "Deployment", "PodDisruptionBudget"].map((kind) => `${kind}/demo-${role}`),
        ),
        "ConfigMap/demo-plan",
        "Job/demo-learner",
        "NetworkPolicy/demo",
        "PersistentVolumeClaim/demo-checkpoints",
      ].toSorted(),
    );
    expect(isQuiet(world.step())).toBe(true);
  });

  it("owns its children, so that they go with it", () => {
    const world = running();
    for (const { metadata } of world.children.values())
      expect(metadata.ownerReferences).toEqual([
        expect.objectContaining({ kind: "TrainingRun", uid: "u-1", controller: true }),
      ]);
  });

  it("waits for a message server, and makes nothing until there is one", () => {
    const world = newWorld();
    world.more = {
      settings: { image: "oarlock:1", natsUrl: undefined, natsImage: "nats:2", namespace: "oarlock-system" },
    };
    world.settle();
    expect(ready(world)?.reason).toBe("NatsMissing");
    expect(world.children.size).toBe(0);
    world.run = { ...world.run, spec: { ...world.run.spec, nats: { url: "nats://own:4222" } } };
    world.settle();
    expect(world.children.size).toBeGreaterThan(10);
  });

  it("fails for good where its plan is refused", () => {
    const world = newWorld();
    world.more = { plan: { type: "refused", message: "BATCH_NOT_DIVISIBLE spec.stages[0]" } };
    world.settle();
    world.more = {};
    const decision = world.settle();
    expect(holds(world, "Failed")).toBe(true);
    expect(ready(world)?.message).toContain("BATCH_NOT_DIVISIBLE");
    expect(world.children.size).toBe(0);
    expect(decision.requeueAfterMs).toBeUndefined();
  });
});

describe("pods", () => {
  it.each(["learner", "actor", "reward"])(
    "of role %s pass the restricted level and reach no API server",
    (role) => {
      const world = running();
      const owner = world.child<{ spec: { template: { spec: Record<string, unknown> } } }>(
        role === "learner" ? "Job" : "Deployment",
        role,
      );
      expect(owner?.spec.template.spec).toMatchObject({
        automountServiceAccountToken: false,
        serviceAccountName: `demo-${role}`,
        securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
        containers: [
          {
            command: [`oarlock-${role}`],
            readinessProbe: { grpc: { port: 50_051 } },
            securityContext: {
              allowPrivilegeEscalation: false,
              readOnlyRootFilesystem: true,
              capabilities: { drop: ["ALL"] },
            },
          },
        ],
      });
    },
  );

  it("keep the image that the plan was made with: a newer controller does not change a run's engine (D1b)", () => {
    const world = running();
    world.more = {
      ...world.more,
      settings: {
        image: "oarlock:2",
        natsUrl: "nats://nats:4222",
        natsImage: "nats:2",
        namespace: "oarlock-system",
      },
    };
    expect(isQuiet(world.step())).toBe(true);
    world.run = { ...world.run, spec: { ...world.run.spec, image: "oarlock:3" } };
    const decision = world.step();
    expect(decision.remove.map(({ kind }) => kind)).toEqual(["Job"]);
    world.settle();
    expect(JSON.stringify(world.child("Job", "learner"))).toContain("oarlock:3");
  });

  it("take a NATS address with credentials from a Secret, never into the object", () => {
    const world = running({ nats: { urlSecretRef: { name: "nats", key: "url" } } });
    const text = JSON.stringify(world.child("Deployment", "actor"));
    expect(text).toContain('"secretKeyRef":{"name":"nats","key":"url"}');
  });

  it("send their traces where the controller was told, and nowhere else", () => {
    const world = running();
    expect(JSON.stringify(world.child("Deployment", "actor"))).not.toContain("OTEL_");
    const settings = { image: "oarlock:1", natsUrl: "nats://nats:4222", natsImage: "nats:2", namespace: "o" };
    world.more = { ...world.more, settings: { ...settings, otlpEndpoint: "http://collector:4318" } };
    world.settle();
    const text = JSON.stringify(world.child("Job", "learner"));
    expect(text).toContain('{"name":"OTEL_EXPORTER_OTLP_ENDPOINT","value":"http://collector:4318"}');
    expect(text).toContain("k8s.pod.name=$(OARLOCK_INSTANCE)");
  });

  it("take a scorer's token from a Secret, in reward pods alone", () => {
    const service = { tokenEnv: "JUDGE_TOKEN", tokenSecretRef: { name: "judge", key: "token" } };
    const judged = {
      name: "judged",
      type: "judge",
      judge: { url: "http://judge/v1", model: "m", rubric: "kind" },
      service,
    } as const;
    const data = { type: "task", task: { name: "addition" } } as const;
    const grpo = { data, steps: 20, rewards: [judged, { ...judged, name: "again" }] };
    const world = running({ stages: [{ name: "learn", type: "grpo", grpo }] });
    const text = (role: string): string => JSON.stringify(world.child("Deployment", role) ?? "");
    const reference = '{"name":"JUDGE_TOKEN","valueFrom":{"secretKeyRef":{"name":"judge","key":"token"}}}';
    expect(text("reward").split(reference)).toHaveLength(2);
    expect(text("actor")).not.toContain("JUDGE_TOKEN");
  });
});

describe("a run that trains", () => {
  it("reports progress, metrics, roles and checkpoint", () => {
    const world = running();
    expect(world.run.status).toMatchObject({
      progress: {
        stage: "learn",
        step: 20,
        totalSteps: 40,
        percentage: 50,
        estimatedRemainingSeconds: 60,
        policyVersion: 20,
      },
      metrics: [
        { name: "reward_mean", value: "0.1235" },
        { name: "kl", value: "0.01" },
      ],
      checkpoint: { step: 15, uri: "pvc://demo-checkpoints/runs/u-1", time: "2026-01-01T00:00:00Z" },
      policyDigest: "abc",
      traceID: "4bf92f3577b34da6a3ce929d0e0e4736",
      planDigest: "d".repeat(64),
    });
    expect(ready(world)).toMatchObject({ status: "True", reason: "Training" });
  });

  it("counts the steps of stages of every type", () => {
    const data = { type: "task", task: { name: "addition" } } as const;
    const world = running({
      stages: [
        { name: "a", type: "sft", sft: { data, steps: 1 } },
        { name: "b", type: "reward-model", "reward-model": { data, steps: 2 } },
        { name: "c", type: "ppo", ppo: { data, steps: 40, rewards: [] } },
        { name: "d", type: "grpo", grpo: { data, steps: 800, rewards: [] } },
      ],
    });
    world.more = { report: { ...report, stage: 2, step: 5 } };
    world.settle();
    expect(world.run.status?.progress).toMatchObject({ stage: "c", step: 8, totalSteps: 843 });
  });

  it("says where and when the checkpoint was written, wherever it lies", () => {
    const objectStore = { type: "objectStore", objectStore: { size: "2Gi" } } as const;
    const world = running({ storage: objectStore });
    const first = world.run.status?.checkpoint;
    expect(first?.uri).toBe("bucket://OARLOCK_u-1_FOLDER");
    const pod = JSON.stringify(world.child("Job", "learner"));
    expect(pod).toContain('{"name":"OARLOCK_KEEP_BYTES","value":"2147483648"}');
    expect(pod).toContain('{"name":"checkpoints","emptyDir":{}}');
    expect(world.child("PersistentVolumeClaim", "checkpoints")).toBeUndefined();
    world.nowMs += 5_000;
    world.settle();
    expect(world.run.status?.checkpoint).toEqual(first);
    world.more = { report: { ...report, checkpointStep: 16 } };
    world.settle();
    expect(world.run.status?.checkpoint).toMatchObject({ step: 16, time: "2026-01-01T00:00:05Z" });
  });

  it("writes nothing while nothing changes, whatever the time", () => {
    const world = running();
    for (let look = 0; look < 5; look++) {
      world.nowMs += 10_000;
      expect(isQuiet(world.step())).toBe(true);
    }
  });

  it("has stalled after its deadline, with who waits for whom, and recovers", () => {
    const world = running({ progressDeadlineSeconds: 60 });
    world.nowMs += 61_000;
    world.more = { report: { ...report, message: "waits for group 3 from actors" } };
    const decision = world.step();
    expect(ready(world)).toMatchObject({ status: "False", reason: "Stalled" });
    expect(ready(world)?.message).toContain("waits for group 3 from actors");
    expect(decision.events).toContainEqual(expect.objectContaining({ type: "Warning", reason: "Stalled" }));
    world.more = { report: { ...report, step: 11 } };
    world.settle();
    expect(holds(world, "Stalled")).toBe(false);
    expect(ready(world)?.reason).toBe("Training");
  });

  it.each([
    [
      "WaitingForNode",
      { phase: "Pending", conditions: [{ type: "PodScheduled", status: "False", message: "0/3 nodes fit" }] },
      "0/3 nodes fit",
    ],
    [
      "WaitingForPods",
      {
        phase: "Pending",
        containerStatuses: [
          {
            ready: false,
            restartCount: 0,
            state: { waiting: { reason: "ImagePullBackOff", message: "no such image" } },
          },
        ],
      },
      "no such image",
    ],
    ["Starting", { phase: "Running" }, "opens model, data and checkpoint"],
  ])("says %s while its learner does not serve", (reason, status, words) => {
    const world = running();
    world.pods = [{ ...servingPod("learner"), status }];
    world.settle();
    expect(ready(world)?.reason).toBe(reason);
    expect(ready(world)?.message).toContain(words);
  });

  it("says that it finishes while a learner that trained all steps ends", () => {
    const world = running();
    world.more = { report: { ...report, step: 30 } };
    world.settle();
    world.more = {};
    world.pods = [{ ...servingPod("learner"), status: { phase: "Running" } }];
    world.settle();
    expect(ready(world)).toMatchObject({ status: "False", reason: "Finishing" });
    world.pods = [];
    world.settle();
    expect(ready(world)?.reason).toBe("Finishing");
  });

  it("repairs a child that somebody changed or deleted", () => {
    const world = running();
    const service = world.child<KubeObject>("Service", "actor");
    world.children.set("Service/demo-actor", {
      ...service,
      spec: { clusterIP: "None" },
    } as unknown as KubeObject);
    world.children.delete("ConfigMap/demo-plan");
    expect(world.step().apply.map(({ object }) => object.kind)).toContain("Service");
  });
});

describe("life and death", () => {
  it("suspends: the learner's Job stops and, once it has drained, everything goes to zero, and comes back as it was", () => {
    const world = running({ roles: [{ name: "actor", replicas: 3 }] });
    world.run = { ...world.run, spec: { ...world.run.spec, suspend: true } };
    world.settle();
    expect(ready(world)?.reason).toBe("Suspending");
    expect(world.child<Job>("Job", "learner")?.spec?.suspend).toBe(true);
    expect([replicasOf(world, "actor"), replicasOf(world, "reward")]).toEqual([3, 1]);
    world.pods = world.pods.filter((pod) => pod.metadata.labels?.["oarlock.dev/role"] !== "learner");
    world.settle();
    expect([replicasOf(world, "actor"), replicasOf(world, "reward")]).toEqual([0, 0]);
    world.pods = [];
    world.settle();
    expect(holds(world, "Suspended")).toBe(true);
    world.run = { ...world.run, spec: { ...world.run.spec, suspend: false } };
    world.settle();
    expect(holds(world, "Suspended")).toBe(false);
    expect(replicasOf(world, "actor")).toBe(3);
    expect(world.child<Job>("Job", "learner")?.spec?.suspend).toBe(false);
  });

  it("is complete when its Job is, frees the others, and keeps the numbers that the learner left", () => {
    const world = running();
    jobWith(world, { conditions: [{ type: "Complete", status: "True" }] });
    world.pods = [{ ...servingPod("learner"), status: { phase: "Succeeded" } }];
    world.more = { report: { ...report, phase: "succeeded", step: 30, policyDigest: "final" } };
    world.settle();
    expect(holds(world, "Complete")).toBe(true);
    expect(replicasOf(world, "actor")).toBe(0);
    expect(world.run.status).toMatchObject({ progress: { percentage: 100 }, policyDigest: "final" });
    expect(world.run.status?.completionTime).toBeDefined();
    expect(isQuiet(world.step())).toBe(true);
  });

  it("fails with the Job's reason and the learner's last words", () => {
    const world = running();
    jobWith(world, {
      failed: 7,
      conditions: [{ type: "Failed", status: "True", reason: "BackoffLimitExceeded" }],
    });
    const terminated = { exitCode: 1, message: "some line\n[MODEL_ABSENT] no such model" };
    const containerStatuses = [{ ready: false, restartCount: 0, state: { terminated } }];
    world.pods = [{ ...servingPod("learner"), status: { phase: "Failed", containerStatuses } }];
    world.settle();
    expect(conditionOf(world.run.status?.conditions ?? [], "Failed")).toMatchObject({
      status: "True",
      reason: "BackoffLimitExceeded",
      message: "[MODEL_ABSENT] no such model",
    });
    expect(replicasOf(world, "actor")).toBe(0);
  });

  it("goes after its time to live, and not before", () => {
    const world = running({ ttlSecondsAfterFinished: 60 });
    jobWith(world, { conditions: [{ type: "Complete", status: "True" }] });
    expect(world.settle()).toMatchObject({ expired: false, requeueAfterMs: 60_000 });
    world.nowMs += 60_000;
    expect(world.step().expired).toBe(true);
  });

  const deleted = (): World => {
    const world = running();
    const deletionTimestamp = new Date(world.nowMs).toISOString();
    world.run = { ...world.run, metadata: { ...world.run.metadata, deletionTimestamp } };
    return world;
  };

  it("drains before its streams are deleted, and is held until they are", () => {
    const world = deleted();
    expect(world.step().needs).toBeUndefined();
    expect(replicasOf(world, "actor")).toBe(0);
    world.pods = [];
    expect(world.step().needs).toBe("cleanup");
    world.more = { cleanup: { done: true, message: "" } };
    expect(world.step().finalizers).toEqual([]);
  });

  it("is never held for ever: a message server that is gone lets it go, with an event", () => {
    const world = deleted();
    world.pods = [];
    world.more = { cleanup: { done: false, message: "no NATS server answers" } };
    const held = world.step();
    expect(held.finalizers).toBeUndefined();
    expect(held.situation.message).toBe(
      "frees what it holds; its streams stay so far: no NATS server answers",
    );
    world.nowMs += 61_000;
    const decision = world.step();
    expect(decision.finalizers).toEqual([]);
    expect(decision.events).toContainEqual(
      expect.objectContaining({ type: "Warning", reason: "StreamsLeft" }),
    );
  });

  it("is let go at once where somebody says so", () => {
    const world = deleted();
    const annotations = { [SKIP_CLEANUP_ANNOTATION]: "true" };
    world.run = { ...world.run, metadata: { ...world.run.metadata, annotations } };
    expect(world.step().finalizers).toEqual([]);
  });
});
