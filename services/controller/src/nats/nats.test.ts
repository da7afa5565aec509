/** A message server of the run's own: who waits for it, when it runs, who reaches it. */
import { describe, expect, it } from "vitest";
import type { KubeClient, KubeObject } from "@oarlock/kube";
import type { StatefulSet } from "../api.ts";
import { endOf } from "../finalizer.ts";
import type { Observed } from "../observed.ts";
import { newWorld, replicasOf, report, servingPod, type World } from "../world.ts";
import type { SecretObject } from "../secrets.ts";
import { createNatsCredentials } from "./credentials.ts";

const OWN = { nats: { managed: {} } } as const;

interface Server extends StatefulSet {
  readonly spec: {
    readonly replicas: number;
    readonly template: {
      readonly metadata: { readonly labels: Readonly<Record<string, string>> };
      readonly spec: { readonly containers: readonly { readonly args: readonly string[] }[] };
    };
  };
}

const serverOf = (world: World): Server | undefined => world.child<Server>("StatefulSet", "nats");
const jobSuspends = (world: World): unknown =>
  world.child<{ spec: { suspend: boolean } }>("Job", "learner")?.spec.suspend;

/** The server's pods serve, or do not. */
function serves(world: World, readyReplicas: number): void {
  const server = serverOf(world);
  if (server !== undefined)
    world.children.set("StatefulSet/demo-nats", { ...server, status: { readyReplicas } } as KubeObject);
}

function waitingWorld(): World {
  const world = newWorld(OWN);
  world.more = { natsSecret: "demo-nats-1" };
  world.settle();
  return world;
}

describe("a run with a message server of its own", () => {
  it("makes nothing before there is a password", () => {
    const world = newWorld(OWN);
    world.settle();
    expect([...world.children.keys()]).toEqual(["ConfigMap/demo-plan"]);
  });

  it("begins once it serves, and bears that it restarts", () => {
    const world = waitingWorld();
    expect(world.settle().situation.reason).toBe("WaitingForNats");
    expect([serverOf(world)?.spec.replicas, jobSuspends(world), replicasOf(world, "actor")]).toEqual([
      1,
      true,
      0,
    ]);
    serves(world, 1);
    expect(world.settle().situation.reason).toBe("Starting");
    expect([jobSuspends(world), replicasOf(world, "actor")]).toEqual([false, 1]);
    world.pods = [servingPod("learner")];
    world.more = { ...world.more, report };
    serves(world, 0);
    expect(world.settle().situation.reason).toBe("Training");
    expect([jobSuspends(world), replicasOf(world, "actor")]).toEqual([false, 1]);
  });

  it("keeps it while pods drain, frees it while the run is suspended, and waits for it again", () => {
    const world = waitingWorld();
    serves(world, 1);
    world.settle();
    world.pods = [servingPod("learner"), servingPod("actor")];
    world.run = { ...world.run, spec: { ...world.run.spec, suspend: true } };
    world.settle();
    expect(serverOf(world)?.spec.replicas).toBe(1);
    world.pods = [];
    world.settle();
    expect(serverOf(world)?.spec.replicas).toBe(0);
    serves(world, 0);
    world.run = { ...world.run, spec: { ...world.run.spec, suspend: false } };
    expect(world.settle().situation.reason).toBe("WaitingForNats");
    expect([serverOf(world)?.spec.replicas, jobSuspends(world)]).toEqual([1, true]);
  });

  it("is deleted once its pods are gone, with nothing left on a server", () => {
    const world = waitingWorld();
    serves(world, 1);
    world.settle();
    const deletionTimestamp = new Date(world.nowMs).toISOString();
    world.run = { ...world.run, metadata: { ...world.run.metadata, deletionTimestamp } };
    world.pods = [servingPod("learner")];
    const held = world.step();
    expect([held.needs, serverOf(world)?.spec.replicas]).toEqual([undefined, 1]);
    world.pods = [];
    expect(world.step().needs).toBe("cleanup");
    const { run, nowMs, pods } = world;
    const settings = { image: "i", natsUrl: undefined, natsImage: "n", namespace: "o" };
    const done = {
      run,
      nowMs,
      pods,
      settings,
      children: new Map(),
      cleans: true,
      cleanup: { done: true, message: "" },
    };
    expect(endOf(done)).toMatchObject({ finalizers: [], events: [] });
  });

  it("serves the run's pods alone, and is none of them", () => {
    const world = waitingWorld();
    const wall = world.child<{ spec: object }>("NetworkPolicy", "nats");
    expect(wall?.spec).toEqual({
      podSelector: { matchLabels: { "oarlock.dev/nats": "demo" } },
      policyTypes: ["Ingress", "Egress"],
      ingress: [
        {
          from: [{ podSelector: { matchLabels: { "oarlock.dev/run": "demo" } } }],
          ports: [{ protocol: "TCP", port: 4222 }],
        },
      ],
    });
    expect(serverOf(world)?.spec.template.metadata.labels).not.toHaveProperty("oarlock.dev/run");
    expect(serverOf(world)?.spec.template.spec.containers[0]?.args).not.toContain("--tlsverify");
  });

  it("asks its clients for certificates where the run has some", () => {
    const world = newWorld({ ...OWN, security: { tls: { type: "runCA" } } });
    const pods = { secretName: "demo-tls-1", digest: "d" };
    world.more = { natsSecret: "demo-nats-1", tls: { type: "ready", pods, client: {} } };
    world.settle();
    expect(serverOf(world)?.spec.template.spec.containers[0]?.args).toContain("--tlsverify");
    const deployment = JSON.stringify(world.child("Deployment", "actor"));
    expect(deployment).toContain('{"name":"NATS_URL","value":"tls://demo-nats.team.svc:4222"}');
    expect(deployment).toContain('"NATS_CERT"');
  });
});

it("a password is made once, whoever leads, and never read", async () => {
  const objects = new Map<string, SecretObject>();
  const create = async (_: object, object: SecretObject): Promise<SecretObject> => {
    objects.set(object.metadata.name, object);
    return object;
  };
  // Only what credentials need of it.
  const client = { create } as unknown as KubeClient;
  const world = newWorld(OWN);
  world.settle();
  const look = (): Observed => {
    const { run, nowMs, pods } = world;
    const settings = { image: "i", natsUrl: undefined, natsImage: "n", namespace: "o" };
    return { run, nowMs, pods, children: new Map(world.children), settings, cleans: true };
  };
  const { signal } = new AbortController();
  const natsSecret = await createNatsCredentials(client).of(look(), signal);
  const [secret] = [...objects.values()];
  expect(secret?.metadata.name).toBe(natsSecret);
  const text = (key: string): string => Buffer.from(secret?.data?.[key] ?? "", "base64").toString();
  expect(text("password")).toMatch(/^[\w-]{32}$/);
  expect(text("nats.conf")).toContain(`password: "${text("password")}"`);
  world.more = natsSecret === undefined ? {} : { natsSecret };
  world.settle();
  objects.clear();
  expect(await createNatsCredentials(client).of(look(), signal)).toBe(natsSecret);
  expect(objects.size).toBe(0);
  // A run of the same name that comes after it has a Secret of its own.
  world.run = { ...world.run, metadata: { ...world.run.metadata, uid: "u-2" } };
  expect(await createNatsCredentials(client).of(look(), signal)).not.toBe(natsSecret);
});
