/** One sentence for what a run waits for, whatever holds it. */
import { describe, expect, it } from "vitest";
import type { TrainingRun } from "./cluster.ts";
import { type Surroundings, waitingFor } from "./waiting.ts";

const nowMs = Date.parse("2026-01-01T00:00:00Z");
const object = { apiVersion: "v1", kind: "Pod" };

function around(reason: string, message: string, more: Partial<Surroundings> = {}): Surroundings {
  const condition = { type: "Ready", status: "False", reason, message, lastTransitionTime: "" } as const;
  const run: TrainingRun = {
    apiVersion: "oarlock.dev/v1alpha1",
    kind: "TrainingRun",
    metadata: { name: "demo" },
    spec: { model: { from: "hf://org/name" }, stages: [] },
    status: { conditions: [condition], roles: [{ name: "actor", desired: 4, ready: 1 }] },
  };
  return { run, pods: [], events: [], nowMs, ...more };
}

describe("why", () => {
  it("says what the controller says, and how many pods are missing", () => {
    expect(waitingFor(around("Starting", "demo-learner-x opens model, data and checkpoint")).sentence).toBe(
      "demo: demo-learner-x opens model, data and checkpoint; 1 of 4 actor pods serve",
    );
    expect(waitingFor(around("WaitingForFiles", "ConfigMap rows does not exist")).sentence).toBe(
      "demo: ConfigMap rows does not exist",
    );
    expect(waitingFor(around("Complete", "all steps are trained")).sentence).toBe(
      "demo: all steps are trained",
    );
  });

  it("names a quota that lets no pod be made, before pods that are missing for it", () => {
    const refused = {
      ...object,
      metadata: { name: "e" },
      reason: "FailedCreate",
      message: "exceeded quota: team, requested: pods=1, used: pods=4, limited: pods=4",
      involvedObject: { kind: "ReplicaSet", name: "demo-actor-5d" },
      lastTimestamp: "2025-12-31T23:59:00Z",
    };
    const said = waitingFor(
      around("Training", "learner, 1 actor and 1 reward worker serve", { events: [refused] }),
    );
    expect(said.sentence).toContain("exceeded quota: team");
    const old = { ...refused, lastTimestamp: "2025-12-31T20:00:00Z" };
    expect(waitingFor(around("Training", "x", { events: [old] })).sentence).toBe(
      "demo: x; 1 of 4 actor pods serve",
    );
    const another = { ...refused, involvedObject: { kind: "ReplicaSet", name: "other-actor-5d" } };
    expect(waitingFor(around("Training", "x", { events: [another] })).sentence).not.toContain("quota");
  });

  it("names a pod that no node takes, and one whose image does not come", () => {
    const unscheduled = {
      ...object,
      metadata: { name: "demo-actor-1" },
      status: { conditions: [{ type: "PodScheduled", status: "False", message: "0/3 nodes are available" }] },
    };
    expect(waitingFor(around("Training", "x", { pods: [unscheduled] })).sentence).toBe(
      "demo: x; demo-actor-1: 0/3 nodes are available",
    );
    const held = {
      ...object,
      metadata: { name: "demo-actor-2" },
      status: { containerStatuses: [{ state: { waiting: { reason: "ImagePullBackOff" } } }] },
    };
    expect(waitingFor(around("Training", "x", { pods: [held] })).sentence).toContain("ImagePullBackOff");
    expect(waitingFor(around("Training", "x", { pods: [unscheduled, held, held] })).more).toEqual([
      "demo-actor-2: ImagePullBackOff",
      "1 of 4 actor pods serve",
    ]);
  });

  it("says of a run without a status that no controller has seen it", () => {
    const { run, ...rest } = around("Training", "");
    const { status: _, ...unseen } = run;
    expect(waitingFor({ ...rest, run: unseen })).toMatchObject({ reason: "Unseen" });
  });
});
