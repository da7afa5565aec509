/** What pods compute on, and runs that ask for a device that is not there: Failed/DeviceMissing, never a run on the CPU. */
import { describe, expect, it } from "vitest";
import { conditionOf } from "@oarlock/kube";
import type { RoleName } from "@oarlock/runfile";
import type { Job, Pod } from "./api.ts";
import { createDeviceViews } from "./device-views.ts";
import { type Device, DEVICE_MISSING_EXIT } from "./devices.ts";
import { isQuiet, newWorld, replicasOf, running, servingPod, type World } from "./world.ts";

const CPU: Device = {
  provider: "cpu",
  device: "AMD EPYC 7B13 (x64-avx2)",
  driver: "ONNX Runtime 1.30.0 (native)",
};
const CARD: Device = { provider: "cuda", device: "NVIDIA L4", driver: "NVIDIA 580.65.06, CUDA 13.0" };
const CUDA = { compute: { provider: "cuda" } } as const;
const WORDS = "[DEVICE_MISSING] the actor computes on 'cuda' and finds no such device";

const condition = ({ status }: Pick<World["run"], "status">, type: string) =>
  conditionOf(status?.conditions ?? [], type);
const withUid = (pod: Pod): Pod => ({ ...pod, metadata: { ...pod.metadata, uid: pod.metadata.name } });
const named = (role: RoleName, number: number): Pod => withUid(servingPod(role, `demo-${role}-${number}`));

/** A pod that ended for want of a device: for good as a Job's, again and again as a Deployment's. */
function without(pod: Pod, how: "state" | "lastState"): Pod {
  const terminated = { exitCode: DEVICE_MISSING_EXIT, message: WORDS };
  const phase = how === "state" ? "Failed" : "Running";
  return {
    ...pod,
    status: { phase, containerStatuses: [{ ready: false, restartCount: 1, [how]: { terminated } }] },
  };
}

describe("devices", () => {
  it("are told by role, pods of one kind together, and kept while a pod has not answered", () => {
    const world = running();
    world.pods = [named("learner", 0), named("actor", 0), named("actor", 1), named("actor", 2)];
    const devices = new Map([
      ["demo-learner-0", CPU],
      ["demo-actor-0", CPU],
      ["demo-actor-1", CARD],
      ["demo-actor-2", CPU],
    ]);
    world.more = { ...world.more, devices };
    world.settle();
    const kinds = [
      { ...CPU, pods: 2 },
      { ...CARD, pods: 1 },
    ];
    expect(world.pool("actor")?.status?.devices).toEqual(kinds);
    expect(world.run.status?.roles?.map(({ devices: of }) => of)).toEqual([
      kinds,
      undefined,
      [{ ...CPU, pods: 1 }],
    ]);
    // Another controller, which has asked nobody yet.
    world.more = { ...world.more, devices: new Map() };
    expect(isQuiet(world.step())).toBe(true);
  });

  it("are asked once in a pod's life, again where it did not answer, and forgotten with the pod", async () => {
    const asked: string[] = [];
    const again: string[] = [];
    const answers = [undefined, CPU];
    const views = createDeviceViews(
      async ({ metadata }) => {
        asked.push(metadata.name);
        return answers.shift();
      },
      (key) => again.push(key),
    );
    const look = async (pods: readonly Pod[]): Promise<number> => {
      const { size } = views.look("team/demo", { run: newWorld().run, pods });
      await new Promise((done) => setImmediate(done));
      return size;
    };
    const pods = [named("actor", 0)];
    expect([await look(pods), await look(pods), await look(pods), await look(pods)]).toEqual([0, 0, 1, 1]);
    expect(asked).toEqual(["demo-actor-0", "demo-actor-0"]);
    expect(again).toEqual(["team/demo"]);
    expect(await look([])).toBe(0);
  });
});

describe("a run without its device", () => {
  const limits = { "nvidia.com/gpu": "1" };
  it.each([
    [
      "resources",
      { roles: [{ name: "actor" as const, resources: { limits } }] },
      "role actor asks for nvidia.com/gpu",
    ],
    [
      "a request",
      { roles: [{ name: "learner" as const, resources: { requests: limits } }] },
      "role learner asks for",
    ],
    [
      "a pod template",
      {
        roles: [
          {
            name: "reward" as const,
            template: { spec: { containers: [{ name: "reward", resources: { limits } }] } },
          },
        ],
      },
      "role reward asks for",
    ],
  ])("ends before anything is made where a card would be idle: asked for by %s", (_, changes, words) => {
    const world = newWorld(changes);
    world.settle();
    expect(condition(world.run, "Failed")).toMatchObject({ status: "True", reason: "DeviceMissing" });
    expect(condition(world.run, "Ready")).toMatchObject({
      reason: "DeviceMissing",
      message: expect.stringContaining(words),
    });
    expect(world.children.size).toBe(0);
  });

  it.each([
    ["no card is asked for", {}],
    [
      "none of none",
      { roles: [{ name: "actor" as const, resources: { limits: { "nvidia.com/gpu": "0" } } }] },
    ],
    ["the plan computes on it", { ...CUDA, roles: [{ name: "actor" as const, resources: { limits } }] }],
  ])("starts where %s", (_, changes) => {
    const world = newWorld(changes);
    world.settle();
    expect(condition(world.run, "Failed")?.status).toBe("False");
    expect(world.children.size).toBeGreaterThan(10);
  });

  it("fails for good where no actor finds one: everything goes, the learner with a checkpoint, and is not tried again", () => {
    const world = running(CUDA);
    world.pods = [named("learner", 0), without(named("actor", 0), "lastState")];
    const events = world.step().events.map(({ reason }) => reason);
    expect(events).toEqual(expect.arrayContaining(["DeviceMissing", "PodWithoutDevice"]));
    world.settle();
    const failed = condition(world.run, "Failed");
    expect(failed).toMatchObject({ status: "True", reason: "DeviceMissing" });
    expect(failed?.message).toBe(`demo-actor-0: ${WORDS}`);
    expect(world.child<Job>("Job", "learner")?.spec?.suspend).toBe(true);
    expect([replicasOf(world, "actor"), replicasOf(world, "reward")]).toEqual([0, 0]);
    world.pods = [];
    world.settle();
    expect(condition(world.run, "Failed")?.reason).toBe("DeviceMissing");
    expect(world.pool("actor")?.status?.conditions).toContainEqual(
      expect.objectContaining({ type: "Failed", status: "True", reason: "DeviceMissing" }),
    );
    expect(isQuiet(world.step())).toBe(true);
  });

  it("fails where the learner finds none: its Job is over with the first pod", () => {
    const world = running(CUDA);
    world.pods = [without(named("learner", 0), "state"), named("actor", 0)];
    world.settle();
    expect(condition(world.run, "Failed")?.reason).toBe("DeviceMissing");
    const rules = JSON.stringify(world.child("Job", "learner"));
    expect(rules).toContain(
      `"action":"FailJob","onExitCodes":{"containerName":"learner","operator":"In","values":[3,${DEVICE_MISSING_EXIT}]}`,
    );
  });

  it("goes on where some actors have theirs, and says which pod has not, once", () => {
    const world = running(CUDA);
    world.pods = [named("learner", 0), named("actor", 0), without(named("actor", 1), "lastState")];
    const first = world.step();
    expect(first.events).toContainEqual({
      type: "Warning",
      reason: "PodWithoutDevice",
      message: `demo-actor-1: ${WORDS}`,
    });
    world.settle();
    expect(condition(world.run, "Ready")).toMatchObject({ status: "True", reason: "Training" });
    expect(world.pool("actor")?.status?.conditions).toContainEqual(
      expect.objectContaining({ type: "Failed", status: "True", reason: "DeviceMissing" }),
    );
    world.pods = [named("learner", 0), named("actor", 0), named("actor", 1)];
    world.settle();
    expect(world.pool("actor")?.status?.conditions).toContainEqual(
      expect.objectContaining({ type: "Failed", status: "False" }),
    );
  });
});
