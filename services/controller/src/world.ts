/** A run and its children as plain data for tests of the decision: what is applied is there at the next look. */
import type { KubeObject } from "@oarlock/kube";
import type { RunSpec } from "@oarlock/runfile";
import type { Deployment, Pod, PoolRole, RolePool, TrainingRun } from "./api.ts";
import { childName, labelsOf } from "./names.ts";
import type { Observed } from "./observed.ts";
import { type Decision, reconcile } from "./reconcile.ts";
import type { LearnerReport } from "./report.ts";
import type { RoleName } from "@oarlock/runfile";

const START_MS = Date.parse("2026-01-01T00:00:00Z");

export interface World {
  run: TrainingRun;
  readonly children: Map<string, KubeObject>;
  pods: Pod[];
  more: Partial<Observed>;
  nowMs: number;
  /** Decides, applies the decision, and gives it. */
  step(): Decision;
  /** Steps until nothing is decided any more; fails where that does not come soon. */
  settle(): Decision;
  pool(role: PoolRole): RolePool | undefined;
  child<T>(kind: string, part: string): T | undefined;
}

const spec: RunSpec = {
  model: { from: "hf://org/name" },
  stages: [
    { name: "warm", type: "sft", sft: { data: { type: "task", task: { name: "addition" } }, steps: 10 } },
    {
      name: "learn",
      type: "grpo",
      grpo: {
        data: { type: "task", task: { name: "addition" } },
        steps: 30,
        rewards: [{ name: "answer", type: "exact" }],
      },
    },
  ],
};

/** What the learner of such a run says. */
export const report: LearnerReport = {
  phase: "running",
  message: "",
  stage: 1,
  step: 10,
  policyVersion: 20,
  policyDigest: "abc",
  remainingSeconds: 60.4,
  metrics: { "critic/score/mean": 0.123_456, "actor/ppo_kl": 0.01 },
  checkpointStep: 15,
  traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
};

/** A world in which one run was just made. */
export function newWorld(changes: Partial<RunSpec> = {}): World {
  const metadata = { name: "demo", namespace: "team", uid: "u-1", generation: 1, finalizers: [] };
  const run = {
    apiVersion: "oarlock.dev/v1alpha1",
    kind: "TrainingRun",
    metadata,
    spec: { ...spec, ...changes },
  };
  const world: World = {
    run,
    children: new Map(),
    pods: [],
    more: {},
    nowMs: START_MS,
    step() {
      const first = reconcile(look(world));
      const planned = {
        type: "planned",
        document: '{"uid":"u-1"}',
        digest: "d".repeat(64),
        window: { lag: 1, promptsPerStep: 8 },
      } as const;
      const decision = first.needs === "plan" ? reconcile({ ...look(world), plan: planned }) : first;
      apply(world, decision);
      return decision;
    },
    settle() {
      for (let steps = 0; steps < 10; steps++) {
        const decision = world.step();
        if (isQuiet(decision)) return decision;
      }
      throw new Error("the decision never comes to rest");
    },
    pool: (role) => world.child("RolePool", role),
    child: <T>(kind: string, part: string) =>
      world.children.get(`${kind}/${childName("demo", part)}`) as T | undefined,
  };
  return world;
}

/** A pod that serves. */
export function servingPod(role: RoleName, name = `demo-${role}-0`): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "team", labels: labelsOf("demo", role) },
    status: { phase: "Running", podIP: "10.0.0.1", conditions: [{ type: "Ready", status: "True" }] },
  };
}

/** Whether a decision writes nothing at all. */
export function isQuiet(decision: Decision): boolean {
  const { apply, remove, abandon, status, poolStatus, events, finalizers } = decision;
  const writes = [apply, remove, abandon, poolStatus, events].some(({ length }) => length > 0);
  return !writes && status === undefined && finalizers === undefined;
}

/** A world in which one run trains. */
export function running(changes: Parameters<typeof newWorld>[0] = {}): World {
  const world = newWorld(changes);
  world.settle();
  world.pods = [servingPod("learner"), servingPod("actor"), servingPod("reward")];
  world.more = { report };
  world.settle();
  return world;
}

/** Pods that a role's Deployment asks for. */
export const replicasOf = (world: World, role: string): unknown =>
  world.child<Deployment & { spec: { replicas: number } }>("Deployment", role)?.spec.replicas;

function look(world: World): Observed {
  return {
    run: world.run,
    children: new Map(world.children),
    pods: world.pods,
    settings: {
      image: "oarlock:1",
      natsUrl: "nats://nats:4222",
      natsImage: "nats:2",
      namespace: "oarlock-system",
    },
    cleans: true,
    nowMs: world.nowMs,
    ...world.more,
  };
}

function apply(world: World, decision: Decision): void {
  const { metadata } = world.run;
  if (decision.finalizers !== undefined)
    world.run = { ...world.run, metadata: { ...metadata, finalizers: decision.finalizers } };
  for (const { object } of decision.apply) {
    const key = `${object.kind}/${object.metadata.name}`;
    const before: object = world.children.get(key) ?? { metadata: { generation: 1 } };
    world.children.set(key, merged(before, object) as KubeObject);
  }
  for (const { kind, metadata: of } of [...decision.remove, ...decision.abandon])
    world.children.delete(`${kind}/${of.name}`);
  if (decision.status !== undefined) world.run = { ...world.run, status: decision.status };
  for (const { name, status } of decision.poolStatus) {
    const pool = world.children.get(`RolePool/${name}`);
    if (pool !== undefined) world.children.set(`RolePool/${name}`, { ...pool, status } as KubeObject);
  }
}

function merged(before: object, after: object): object {
  const pairs = Object.entries(after).map(([key, value]: [string, unknown]) => {
    const old: unknown = Object.getOwnPropertyDescriptor(before, key)?.value;
    const both = isBlock(old) && isBlock(value);
    return [key, both ? merged(old, value) : value];
  });
  return { ...before, ...Object.fromEntries(pairs) };
}

function isBlock(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
