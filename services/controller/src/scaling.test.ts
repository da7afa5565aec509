/** Who decides on the number of actors: the run, a person, an autoscaler, or the controller; and what more could help. */
import { describe, expect, it } from "vitest";
import { conditionOf } from "@oarlock/kube";
import type { RolePool } from "./api.ts";
import { replicasOf, running, type World } from "./world.ts";

const scale = (world: World, replicas: number): void => {
  const pool = world.pool("actor");
  if (pool === undefined) throw new Error("no pool");
  const scaled: RolePool = { ...pool, spec: { ...pool.spec, replicas } };
  world.children.set("RolePool/demo-actor", scaled);
};

describe("scaling", () => {
  const ask = (world: World, roles: NonNullable<World["run"]["spec"]["roles"]>): void => {
    world.run = { ...world.run, spec: { ...world.run.spec, roles } };
  };

  it("starts with what the run asks, and kubectl scale sticks", () => {
    const world = running({ roles: [{ name: "actor", replicas: 2 }] });
    expect(replicasOf(world, "actor")).toBe(2);
    scale(world, 5);
    const decision = world.step();
    expect(decision.events).toContainEqual({ type: "Normal", reason: "Scaled", message: "actor 2 → 5" });
    expect(replicasOf(world, "actor")).toBe(5);
    world.settle();
    expect(replicasOf(world, "actor")).toBe(5);
  });

  it("Static: copies the run's number when that number itself changes, and only then", () => {
    const world = running({ roles: [{ name: "actor", replicas: 2 }] });
    scale(world, 5);
    ask(world, [{ name: "actor", replicas: 2, resources: { requests: { cpu: "1" } } }]);
    world.settle();
    expect(replicasOf(world, "actor")).toBe(5);
    ask(world, [{ name: "actor", replicas: 3 }]);
    world.settle();
    expect(replicasOf(world, "actor")).toBe(3);
    expect(world.pool("actor")?.spec.replicas).toBe(3);
  });

  it("External: the run's number counts once, for the new pool", () => {
    const world = running({ roles: [{ name: "actor", replicas: 2, scaling: { mode: "External" } }] });
    expect(replicasOf(world, "actor")).toBe(2);
    ask(world, [{ name: "actor", replicas: 7, scaling: { mode: "External" } }]);
    world.settle();
    expect(replicasOf(world, "actor")).toBe(2);
  });

  it("keeps within the run's bounds", () => {
    const world = running({ roles: [{ name: "actor", minReplicas: 2, maxReplicas: 4 }] });
    expect(replicasOf(world, "actor")).toBe(2);
    scale(world, 9);
    world.settle();
    expect(replicasOf(world, "actor")).toBe(4);
  });

  it("changes no other child", () => {
    const world = running();
    scale(world, 3);
    expect(world.step().apply.map(({ object }) => `${object.kind}/${object.metadata.name}`)).toEqual([
      "Deployment/demo-actor",
    ]);
  });
});

describe("the useful maximum", () => {
  const demand = { actors: 3, learnerIdle: 0, actorsBusy: 0.6, needed: 1.8, tooFew: 0 };
  const useful = (world: World) => conditionOf(world.pool("actor")?.status?.conditions ?? [], "Useful");

  it("is in the status, and an event says once that a scale goes beyond it", () => {
    const world = running();
    expect(world.run.status?.roles?.map(({ usefulMaximum }) => usefulMaximum)).toEqual([
      16,
      undefined,
      undefined,
    ]);
    expect(useful(world)).toMatchObject({ status: "True", reason: "Within" });
    scale(world, 17);
    expect(world.step().events.map(({ reason }) => reason)).toEqual(["Scaled", "BeyondUsefulMaximum"]);
    expect(world.step().events).toEqual([]);
    expect(useful(world)).toMatchObject({ status: "False", reason: "GroupsInFlight" });
    expect(useful(world)?.message).toContain("(lag 1 + 1) × 8 prompts a step");
  });

  it("falls with what the learner's steps show, and says so", () => {
    const world = running({ roles: [{ name: "actor", replicas: 3 }] });
    world.more = { ...world.more, demand };
    expect(world.step().events).toEqual([
      {
        type: "Warning",
        reason: "BeyondUsefulMaximum",
        message: "3 actors: more than 2 cannot help: 2 keep the learner busy all the time",
      },
    ]);
    world.settle();
    expect(world.pool("actor")?.status?.usefulMaximum).toBe(2);
    // A person's number stands all the same.
    expect(replicasOf(world, "actor")).toBe(3);
  });

  it("Balanced: the controller decides, and an event answers a kubectl scale", () => {
    const roles = [{ name: "actor", replicas: 3, maxReplicas: 30, scaling: { mode: "Balanced" } }] as const;
    const world = running({ roles });
    world.more = { ...world.more, demand };
    const decision = world.step();
    expect(decision.events[0]).toEqual({
      type: "Normal",
      reason: "Scaled",
      message: "actor 3 → 2: the learner waits 0% of a step, actors work 60% of the time",
    });
    expect([world.pool("actor")?.spec.replicas, replicasOf(world, "actor")]).toEqual([2, 2]);
    world.settle();
    scale(world, 9);
    const answer = world.step();
    expect(answer.events).toEqual([expect.objectContaining({ type: "Warning", reason: "ScaleOverruled" })]);
    expect(answer.events[0]?.message).toContain("9 were asked for, and scaling.mode Balanced keeps 2");
    world.settle();
    expect([world.pool("actor")?.spec.replicas, replicasOf(world, "actor")]).toEqual([2, 2]);
    // Never beyond the groups in flight, whatever the run allows.
    for (const actors of [2, 4, 8, 16]) {
      world.more = { ...world.more, demand: { ...demand, actors, needed: 40 } };
      world.settle();
    }
    expect(replicasOf(world, "actor")).toBe(16);
  });
});
