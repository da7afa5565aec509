/** Nodes that die: which pods count as lost, what the controller does about a learner, and what the run says meanwhile. */
import { describe, expect, it } from "vitest";
import { conditionOf, isSilent, KubeError, type KubeObject } from "@oarlock/kube";
import { createManualClock } from "@oarlock/runtime";
import type { Job, Pod } from "./api.ts";
import { nodesInDoubt, withoutLost } from "./lost-nodes.ts";
import { createNodeViews } from "./node-views.ts";
import { isQuiet, report, running, servingPod, type World } from "./world.ts";

const nowMs = Date.parse("2026-01-01T00:10:00Z");
const on = (pod: Pod, nodeName: string, more: object = {}): Pod => ({
  ...pod,
  metadata: { ...pod.metadata, ...more },
  spec: { nodeName },
});
const unready = (pod: Pod): Pod => ({
  ...pod,
  status: { ...pod.status, conditions: [{ type: "Ready", status: "False" }] },
});
const node = (status: string): KubeObject & { status: object } => ({
  apiVersion: "v1",
  kind: "Node",
  metadata: { name: "far" },
  status: { conditions: [{ type: "Ready", status }] },
});
const ready = ({ run }: World) => conditionOf(run.status?.conditions ?? [], "Ready");

/** A run whose learner's pod was deleted on a node that does not answer. */
function bereft(changes: Parameters<typeof running>[0] = {}): World {
  const world = running(changes);
  const job = world.child<Job>("Job", "learner");
  const uid = "job-1";
  if (job !== undefined)
    world.children.set("Job/demo-learner", { ...job, metadata: { ...job.metadata, uid } } as KubeObject);
  const owner = { apiVersion: "batch/v1", kind: "Job", name: "demo-learner", uid, controller: true };
  const learner = on(servingPod("learner"), "far", { ownerReferences: [owner] });
  world.pods = world.pods.filter(({ metadata }) => metadata.name !== learner.metadata.name);
  world.more = { lost: [learner], silentNodes: new Set(["far"]) };
  return world;
}

describe("a lost pod", () => {
  it("was deleted, and its node does not answer, or the end of its grace period is long over", () => {
    const deletionTimestamp = "2026-01-01T00:12:00Z";
    const learner = on(servingPod("learner"), "far");
    const deleted = on(learner, "far", { deletionTimestamp });
    const lostOf = (pod: Pod, silent: readonly string[], atMs = nowMs): number =>
      withoutLost([pod], { silentNodes: new Set(silent), nowMs: atMs }).lost?.length ?? 0;
    expect(lostOf(deleted, ["far"])).toBe(1);
    // It drains.
    expect(lostOf(deleted, ["other"])).toBe(0);
    expect(lostOf(deleted, [], Date.parse("2026-01-01T00:13:01Z"))).toBe(1);
    // Kubernetes has not given it up.
    expect(lostOf(learner, ["far"])).toBe(0);
    expect(lostOf({ ...deleted, status: { phase: "Failed" } }, ["far"])).toBe(0);
  });

  it("is looked for where something is wrong, and nowhere else", () => {
    const pods = [
      on(servingPod("learner"), "fine"),
      on(unready(servingPod("actor")), "doubtful"),
      on(servingPod("reward"), "left", { deletionTimestamp: "2026-01-01T00:12:00Z" }),
    ];
    expect([...nodesInDoubt(pods)]).toEqual(["doubtful", "left"]);
    expect([node("Unknown"), node("False"), node("True"), undefined].map(isSilent)).toEqual([
      true,
      false,
      false,
      true,
    ]);
  });

  it("is not known by its node where the controller may not look", async () => {
    const pods = [on(unready(servingPod("actor")), "far")];
    const signal = new AbortController().signal;
    const asked: string[] = [];
    const views = (answer: () => KubeObject) =>
      createNodeViews(
        {
          // Every kind is a KubeObject, and only nodes are asked for.
          get: async <T extends KubeObject>(_: unknown, { name }: { readonly name: string }) => {
            asked.push(name);
            return answer() as T;
          },
        },
        createManualClock(),
      );
    const seeing = views(() => node("Unknown"));
    expect([...(await seeing.silent(pods, signal))]).toEqual(["far"]);
    await seeing.silent(pods, signal);
    expect(asked).toEqual(["far"]);
    const blind = views(() => {
      throw new KubeError("KUBE_FORBIDDEN", "forbidden", { status: 403, retryable: true });
    });
    expect((await blind.silent(pods, signal)).size).toBe(0);
  });
});

describe("a run whose learner is lost with its node", () => {
  it("gets another Job, once, without waiting for the pod", () => {
    const world = bereft();
    const decision = world.step();
    expect(decision.abandon.map(({ metadata }) => metadata.uid)).toEqual(["job-1"]);
    expect(decision.remove).toEqual([]);
    expect(decision.events).toContainEqual(
      expect.objectContaining({
        reason: "LearnerLost",
        message: "demo-learner-0 was lost with node far: another learner takes its place",
      }),
    );
    // The pod is still there, and is the old Job's.
    expect(world.step().apply.map(({ object }) => object.kind)).toEqual(["Job"]);
    expect(isQuiet(world.settle())).toBe(true);
    expect(ready(world)?.message).toBe(
      "the learner's pod is being made; demo-learner-0 was lost with node far; what it holds is free once that node is back, deleted, or (switched off) tainted node.kubernetes.io/out-of-service",
    );
    world.pods = [...world.pods, { ...servingPod("learner", "demo-learner-1") }];
    world.more = { ...world.more, report };
    world.settle();
    expect(ready(world)).toMatchObject({ status: "True", reason: "Training" });
  });

  it("holds no volume where checkpoints lie in a bucket, and ends and suspends as if the pod were gone", () => {
    const world = bereft({ storage: { type: "objectStore", objectStore: { size: "2Gi" } } });
    world.settle();
    expect(ready(world)?.message).toBe(
      "the learner's pod is being made; demo-learner-0 was lost with node far",
    );
    world.pods = [];
    world.run = { ...world.run, spec: { ...world.run.spec, suspend: true } };
    world.settle();
    expect(ready(world)?.reason).toBe("Suspended");
  });

  it("F1: waits for its pod where the run folder is lost with it: another would be no younger", () => {
    const world = bereft({ storage: { type: "emptyDir", emptyDir: { acceptLoss: true } } });
    const decision = world.step();
    expect([decision.abandon, decision.remove]).toEqual([[], []]);
    expect(decision.events.map(({ reason }) => reason)).not.toContain("LearnerLost");
    expect(ready(world)?.message).toMatch(
      /was lost with node far; what it holds is free once that node is back/,
    );
  });

  it("says of a pod that does not end that it does not, where its node answers", () => {
    const world = bereft();
    world.more = { ...world.more, silentNodes: new Set() };
    expect(world.step().events).toContainEqual(
      expect.objectContaining({
        message: "demo-learner-0 does not end on node far: another learner takes its place",
      }),
    );
  });

  it("says so before Kubernetes gives the pod up, and waits", () => {
    const world = running();
    world.pods = [on(unready(servingPod("learner")), "far")];
    world.more = { silentNodes: new Set(["far"]) };
    const decision = world.step();
    expect(ready(world)).toMatchObject({ status: "False", reason: "NodeLost" });
    expect(ready(world)?.message).toContain("demo-learner-0: node far does not answer");
    expect([decision.abandon, decision.remove]).toEqual([[], []]);
  });
});

describe("tolerations", () => {
  it("let a pod wait for a silent node for a minute, or as long as the run says", () => {
    const own = { key: "node.kubernetes.io/unreachable", operator: "Exists", effect: "NoExecute" } as const;
    const world = running({ roles: [{ name: "actor", tolerations: [{ ...own, tolerationSeconds: 5 }] }] });
    const seconds = (kind: string, role: string): unknown =>
      world
        .child<
          {
            readonly spec: {
              readonly template: {
                readonly spec: { readonly tolerations: readonly { readonly tolerationSeconds?: number }[] };
              };
            };
          } & KubeObject
        >(kind, role)
        ?.spec.template.spec.tolerations.map(({ tolerationSeconds }) => tolerationSeconds);
    expect(seconds("Job", "learner")).toEqual([60, 60]);
    expect(seconds("Deployment", "actor")).toEqual([5, 60]);
  });
});
