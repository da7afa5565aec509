/** Plans that are resolved in a pod, for runs that read volumes or name a hub: what is made for it, and when it goes. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, it } from "vitest";
import type { KubeObject } from "@oarlock/kube";
import type { RunSpec } from "@oarlock/runfile";
import type { Pod } from "../api.ts";
import { labelsOf, ROLE_LABEL } from "../names.ts";
import { newWorld, servingPod, type World } from "../world.ts";
import { askPlanner } from "./ask.ts";
import { PLANNER } from "./job.ts";

const grpo = {
  data: { type: "file", file: { path: "pvc://rows/sets/a.jsonl" } },
  steps: 30,
  rewards: [
    { name: "mine", type: "function", function: { file: "pvc://code/reward.ts" } },
    { name: "learned", type: "model", model: { from: "pvc://scorers/rm" } },
  ],
} as const;
const READS = {
  model: { from: "pvc://models/small" },
  stages: [{ name: "learn", type: "grpo", grpo }],
} as const satisfies Partial<RunSpec>;

const scoredFromHub = {
  ...grpo,
  rewards: [{ name: "learned", type: "model", model: { from: "hf://org/name" } }],
} as const;

interface Template {
  readonly spec: { readonly template: { readonly spec: { readonly volumes: readonly Volume[] } } };
}

interface PodTemplate {
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly containers: readonly { readonly env: readonly { readonly name: string }[] }[];
      };
    };
  };
}

interface Volume {
  readonly persistentVolumeClaim?: { readonly claimName: string; readonly readOnly?: boolean };
}

const claimsIn = (world: World, kind: string, part: string): readonly string[] => {
  const volumes = world.child<Template>(kind, part)?.spec.template.spec.volumes ?? [];
  return volumes.flatMap(({ persistentVolumeClaim: claim }) =>
    claim?.readOnly === true ? [claim.claimName] : [],
  );
};

const plannerPod = (ready: boolean): Pod => {
  const pod = servingPod("learner", "demo-planner-0");
  const conditions = [{ type: "Ready", status: ready ? "True" : "False" }];
  return {
    ...pod,
    metadata: { ...pod.metadata, labels: { ...labelsOf("demo"), [ROLE_LABEL]: PLANNER } },
    status: { ...pod.status, podIP: "127.0.0.1", conditions },
  };
};

/** One decision while the pod has nothing to say yet. */
function planning(): World {
  const world = newWorld(READS);
  world.more = { plan: { type: "waiting", message: "the pod that plans is being made" } };
  world.settle();
  return world;
}

it("a run that reads volumes has a Job plan it, walled in as the run, and removes it once it has the plan", () => {
  const world = planning();
  expect(world.step().situation.reason).toBe("WaitingForFiles");
  const kinds = [...world.children.keys()].filter((key) => !key.startsWith("ServiceAccount"));
  expect(kinds).toEqual(["NetworkPolicy/demo", "Job/demo-planner"]);
  expect(claimsIn(world, "Job", "planner")).toEqual(["code", "models", "rows", "scorers"]);
  world.more = {};
  const planned = world.step();
  expect(planned.remove).toEqual([]);
  expect(world.step().remove.map(({ metadata }) => metadata.name)).toEqual(["demo-planner"]);
  world.settle();
  expect(world.children.has("Job/demo-planner")).toBe(false);
});

it.each([
  ["a model", { ...READS, model: { from: "hf://org/name" } }, ["learner", "actor", "reward"]],
  // The learner hands it on.
  ["a reward model", { ...READS, stages: [{ ...READS.stages[0], grpo: scoredFromHub }] }, ["learner"]],
  ["a successor at most", READS, ["learner"]],
] as const)(
  "a run that names a hub is planned in a pod; of %s the pods that read it are given the token",
  (_, of, readers) => {
    const tokenSecretRef = { name: "hub", key: "token" };
    const world = newWorld({
      ...of,
      hub: { endpoint: "https://hub.example.com", tokenSecretRef },
    } as Partial<RunSpec>);
    const told = (kind: string, part: string): unknown[] => {
      const containers = world.child<PodTemplate>(kind, part)?.spec.template.spec.containers;
      return containers?.[0]?.env.filter(({ name }) => name.startsWith("HF_")) ?? [];
    };
    const expected = [
      { name: "HF_ENDPOINT", value: "https://hub.example.com" },
      { name: "HF_TOKEN", valueFrom: { secretKeyRef: tokenSecretRef } },
    ];
    world.more = { plan: { type: "waiting", message: "the pod that plans is being made" } };
    world.settle();
    expect(told("Job", "planner")).toEqual(expected);
    world.more = {};
    world.settle();
    for (const [kind, role] of [
      ["Job", "learner"],
      ["Deployment", "actor"],
      ["Deployment", "reward"],
    ] as const)
      expect(told(kind, role)).toEqual((readers as readonly string[]).includes(role) ? expected : []);
  },
);

it.each([
  ["a model of the hub", { model: { from: "hf://org/name" } }],
  [
    "a data set of the hub",
    {
      stages: [
        {
          ...READS.stages[0],
          grpo: { ...grpo, data: { type: "hub", hub: { dataset: "hf://datasets/org/name" } } },
        },
      ],
    },
  ],
] as const)("%s is fetched by a pod of the run, not by the controller", (_, more) => {
  const world = newWorld(more as Partial<RunSpec>);
  world.more = { plan: { type: "waiting", message: "the pod that plans is being made" } };
  world.settle();
  expect(world.children.has("Job/demo-planner")).toBe(true);
});

it("its pod is told of the message server where it reads bundles, and how to trust it; else it needs none", () => {
  const bundle = `bundle://sha256-${"0".repeat(64)}/reward.mjs` as const;
  const rewards = [{ name: "mine", type: "function", function: { file: bundle } }] as const;
  const stages = [{ name: "learn", type: "grpo", grpo: { ...grpo, rewards } }] as const;
  const tls = { secretName: "trust", clientCertificate: true };
  const planner = (more: Partial<RunSpec>): string => {
    const world = newWorld({ ...READS, ...more });
    world.more = { plan: { type: "waiting", message: "the pod that plans is being made" } };
    world.settle();
    return JSON.stringify(world.child("Job", "planner"));
  };
  const bundled = planner({ stages, nats: { url: "tls://nats:4222", tls } });
  for (const text of ["tls://nats:4222", '"NATS_CA"', '"NATS_KEY"', '"secretName":"trust"'])
    expect(bundled).toContain(text);
  // A server of the run's own, and its password, come after the plan.
  expect(planner({ nats: { managed: {} } })).not.toContain("NATS_");
});

it("each role mounts what it reads, and no more", () => {
  const world = newWorld(READS);
  world.settle();
  expect(claimsIn(world, "Job", "learner")).toEqual(["models", "rows", "scorers"]);
  expect(claimsIn(world, "Deployment", "actor")).toEqual(["models"]);
  expect(claimsIn(world, "Deployment", "reward")).toEqual(["code", "models"]);
});

it("a run that is deleted while it is planned frees the pod", () => {
  const world = planning();
  world.pods = [plannerPod(false)];
  const deletionTimestamp = new Date(world.nowMs).toISOString();
  world.run = { ...world.run, metadata: { ...world.run.metadata, deletionTimestamp } };
  expect(world.step().remove.map(({ metadata }) => metadata.name)).toEqual(["demo-planner"]);
});

it("says what keeps the pod, then hears what the command line said", async () => {
  const world = planning();
  let port = 0;
  const look = (pods: readonly Pod[], children: World["children"] = world.children) => {
    const settings = { image: "i", natsUrl: undefined, natsImage: "n", namespace: "o" };
    const seen = { run: world.run, pods, children, settings, cleans: true, nowMs: world.nowMs };
    return askPlanner(seen, new AbortController().signal, port);
  };
  expect(await look([])).toEqual({ type: "waiting", message: "the pod that plans is being made" });
  expect(await look([plannerPod(false)])).toMatchObject({
    message: "demo-planner-0 looks at model and data",
  });
  const job = world.children.get("Job/demo-planner");
  const conditions = [
    { type: "Failed", status: "True", message: "Job was active longer than specified deadline" },
  ];
  const failed = new Map([["Job/demo-planner", { ...job, status: { conditions } } as unknown as KubeObject]]);
  expect(await look([], failed)).toMatchObject({
    message: expect.stringMatching(/gave up: Job was active longer/),
  });

  const execution = { code: 0, stdout: "{}", stderr: "" };
  const answers = [JSON.stringify(execution), '"nonsense"'];
  const server = createServer((_, response) => response.end(answers.shift()));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  // The type says string for pipes.
  ({ port } = server.address() as AddressInfo);
  try {
    expect(await look([plannerPod(true)])).toEqual({ type: "executed", execution });
    await expect(look([plannerPod(true)])).rejects.toMatchObject({ code: "PLAN_FAILED", retryable: true });
  } finally {
    server.close();
  }
});
