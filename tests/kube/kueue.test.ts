/**
 * Two runs that contend for a quota which holds one: Kueue's own controller admits learner, actors and reward workers together or
 * not at all, what one run frees the other gets, a run of a higher class takes it from one of a lower, and a run whose node is lost
 * waits for it again. All end with the same weights (D1).
 */
import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually, repositoryRoot, type ServerProcess, suiteFolder } from "@oarlock/testkit";
import {
  type Cluster,
  clusterNeeds,
  learnerAddress,
  NAMESPACE,
  pauseLearner,
  startCluster,
} from "./cluster.ts";
import { kueueNeeds, startKueue } from "./kueue.ts";

interface Run {
  readonly status?: {
    readonly policyDigest?: string;
    readonly progress?: { readonly step: number };
    readonly conditions?: readonly {
      readonly type: string;
      readonly reason: string;
      readonly message: string;
    }[];
    readonly roles?: readonly { readonly name: string; readonly restarts: number }[];
  };
}

interface Pods {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly status?: { readonly podIP?: string };
    readonly spec: {
      readonly schedulingGates?: readonly object[];
      readonly nodeName?: string;
      readonly containers: readonly { readonly image: string }[];
    };
  }[];
}

const needs = [clusterNeeds(), kueueNeeds()];
/** Room for one run: each of its three pods asks for one. */
const QUOTA = 3;

const run = (name: string, priorityClass?: string, ofRoles: object = {}): object => {
  const data = { type: "task", task: { name: "addition", digits: 2, split: "train" } };
  const resources = { requests: { cpu: "1" } };
  const labels = {
    "kueue.x-k8s.io/queue-name": "oarlock",
    ...(priorityClass === undefined ? {} : { "kueue.x-k8s.io/priority-class": priorityClass }),
  };
  return {
    apiVersion: "oarlock.dev/v1alpha1",
    kind: "TrainingRun",
    metadata: { name, namespace: NAMESPACE, labels },
    spec: {
      seed: 7,
      model: {
        init: {
          hiddenSize: 64,
          intermediateSize: 192,
          layers: 4,
          heads: 4,
          maxPositions: 32,
          tokenizer: { type: "characters", characters: { alphabet: "0123456789+=" } },
        },
      },
      pipeline: { mode: "lockstep", lag: 1 },
      stages: [
        {
          name: "grpo",
          type: "grpo",
          grpo: {
            data,
            steps: 60,
            promptsPerStep: 16,
            groupSize: 8,
            sampling: { maxNewTokens: 4 },
            rewards: [{ name: "answer", type: "exact" }],
            optimizer: { learningRate: 4e-4, warmupSteps: 5, weightDecay: 0 },
          },
        },
      ],
      checkpoints: { every: 10 },
      roles: [
        { name: "actor", resources, ...ofRoles },
        { name: "reward", resources, ...ofRoles },
        { name: "learner", resources, ...ofRoles },
      ],
      storage: { type: "objectStore", objectStore: { size: "16Mi" } },
    },
  };
};

describe.skipIf(needs.some(({ absent }) => absent))(
  `a quota${needs.map(({ note }) => note).join("")}`,
  () => {
    const folder = suiteFolder("kueue");
    let cluster: Cluster;
    let kueue: ServerProcess;
    const get = (name: string): Promise<Run> => cluster.plane.get<Run>(["-n", NAMESPACE, "trun", name]);
    const reasonOf = async (name: string): Promise<string | undefined> =>
      (await get(name)).status?.conditions?.find(({ type }) => type === "Ready")?.reason;
    const becomes = (name: string, reason: string) =>
      eventually(
        `${name} to be ${reason}`,
        async () => ((await reasonOf(name)) === reason ? true : undefined),
        {
          timeoutMs: 120_000,
          detail: () => `\n${kueue.output().slice(-4_000)}`,
        },
      );
    const trained = (name: string, steps: number) =>
      eventually(
        `${steps} steps of ${name}`,
        async () => (((await get(name)).status?.progress?.step ?? 0) >= steps ? true : undefined),
        { timeoutMs: 120_000, detail: () => kueue.output().slice(-4_000) },
      );
    const podsOf = async (name: string, more = ""): Promise<Pods["items"]> => {
      const selector = `oarlock.dev/run=${name}${more}`;
      return (await cluster.plane.get<Pods>(["-n", NAMESPACE, "pods", "-l", selector])).items;
    };
    /** Pods of a run, by whether they wait at Kueue's gate. */
    const pods = async (name: string): Promise<{ readonly gated: number; readonly placed: number }> => {
      const items = await podsOf(name);
      const gated = items.filter(({ spec }) => (spec.schedulingGates?.length ?? 0) > 0).length;
      return { gated, placed: items.filter(({ spec }) => spec.nodeName !== undefined).length };
    };
    const podOf = async (name: string, role: string): Promise<string> =>
      (await podsOf(name, `,oarlock.dev/role=${role}`))[0]?.metadata.name ?? "";
    const pause = async (name: string): Promise<void> => {
      await pauseLearner(await learnerAddress(cluster, name));
      await becomes(name, "Paused");
    };
    const patch = (name: string, spec: object) =>
      cluster.kubectl("patch", "trun", name, "--type=merge", "-p", JSON.stringify({ spec }));
    const suspend = (name: string, is: boolean) => patch(name, { suspend: is });

    beforeAll(async () => {
      cluster = await startCluster(folder, { nodeGraceSeconds: 8 });
      kueue = await startKueue(cluster.plane, NAMESPACE, folder);
      const overlay = join(folder, "overlay");
      writeOverlay(overlay);
      await cluster.kubectl("apply", "-k", overlay);
    }, 240_000);
    afterAll(async () => {
      await kueue?.stop();
      await cluster?.[Symbol.asyncDispose]();
    }, 60_000);

    const apply = (name: string, priorityClass?: string, ofRoles: object = {}) =>
      cluster.plane.kubectl(["apply", "-f", "-"], {
        input: JSON.stringify(run(name, priorityClass, ofRoles)),
      });
    /** Deletes runs, and waits until nothing of them is left. */
    const remove = async (...names: readonly string[]): Promise<void> => {
      await cluster.kubectl("delete", "trun", ...names, "--timeout=60s");
      const left = async (): Promise<true | undefined> =>
        (await cluster.kubectl("get", "pods,workloads.kueue.x-k8s.io", "-o", "name")) === ""
          ? true
          : undefined;
      await eventually("pods and workloads to go", left, { timeoutMs: 60_000 });
    };
    const sameDigest = async (...names: readonly string[]): Promise<void> => {
      const digests = await Promise.all(names.map(async (name) => (await get(name)).status?.policyDigest));
      expect(digests[0]).toMatch(/^[0-9a-f]{64}$/);
      expect(digests[1]).toBe(digests[0]);
    };

    it("is a run's still where its node is lost, and its learner goes on elsewhere", async () => {
      const taint = { key: "node.kubernetes.io/unreachable", operator: "Exists", effect: "NoExecute" };
      const tolerations = [{ ...taint, tolerationSeconds: 3 }];
      const machine = await cluster.addNode("machine");
      await cluster.kubectl("cordon", "processes");
      expect(await apply("lost", undefined, { tolerations })).toMatchObject({ code: 0 });
      await trained("lost", 12);
      await pause("lost");
      await cluster.kubectl("uncordon", "processes");
      machine.lose();
      // Its pods keep the quota of their group until somebody says that they ended; the pods in their place are another group.
      await becomes("lost", "WaitingForQuota");
      const words = (await get("lost")).status?.conditions?.find(({ type }) => type === "Ready");
      expect(words?.message).toMatch(/lost-learner-\S+ was lost with node machine/);
      const excess = async (): Promise<number> => {
        const field = "--field-selector=reason=ExcessPodDeleted";
        return (await cluster.kubectl("get", "events", field, "-o", "name")).split("\n").length;
      };
      const before = await excess();
      await new Promise((done) => setTimeout(done, 5_000));
      // Without another group they were made and deleted some ten times a second.
      expect(await excess()).toBe(before);
      expect(before).toBeLessThan(50);
      expect(await pods("lost")).toEqual({ gated: 3, placed: 3 });
      // What the runbook says of a machine that is off.
      await cluster.kubectl(
        "taint",
        "node",
        "machine",
        "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute",
      );
      await cluster.kubectl("wait", "trun/lost", "--for=condition=Complete", "--timeout=240s");
      expect(await apply("whole")).toMatchObject({ code: 0 });
      await cluster.kubectl("wait", "trun/whole", "--for=condition=Complete", "--timeout=240s");
      await sameDigest("lost", "whole");
      await remove("lost", "whole");
    }, 600_000);

    it("is taken from a run by one of a higher class, which costs no failure and no bit", async () => {
      const priority = {
        apiVersion: "kueue.x-k8s.io/v1beta2",
        kind: "WorkloadPriorityClass",
        metadata: { name: "urgent" },
        value: 1_000,
      };
      const input = JSON.stringify(priority);
      expect(await cluster.plane.kubectl(["apply", "-f", "-"], { input })).toMatchObject({ code: 0 });
      expect(await apply("modest")).toMatchObject({ code: 0 });
      await trained("modest", 10);
      await pause("modest");
      expect(await apply("urgent", "urgent")).toMatchObject({ code: 0 });
      await becomes("urgent", "Training");
      await becomes("modest", "WaitingForQuota");
      expect(await pods("modest")).toEqual({ gated: 3, placed: 0 });
      await cluster.kubectl("wait", "trun/urgent", "--for=condition=Complete", "--timeout=240s");
      await cluster.kubectl("wait", "trun/modest", "--for=condition=Complete", "--timeout=240s");
      expect((await get("modest")).status?.roles?.find(({ name }) => name === "learner")?.restarts).toBe(0);
      await sameDigest("urgent", "modest");
      await remove("urgent", "modest");
    }, 600_000);

    it("goes to one of two runs, whole, and to the other when it is free", async () => {
      expect(await apply("first")).toMatchObject({ code: 0 });
      await becomes("first", "Training");
      await pause("first");
      // A pod of the group that goes is replaced within the group: its place is still the run's.
      const actor = await podOf("first", "actor");
      await cluster.kubectl("delete", "pod", actor, "--timeout=60s");
      await eventually(
        "another actor in its place",
        async () => ((await pods("first")).placed === 3 ? true : undefined),
        { timeoutMs: 60_000, detail: () => kueue.output().slice(-6_000) },
      );
      expect(await podOf("first", "actor")).not.toBe(actor);
      expect(await apply("second")).toMatchObject({ code: 0 });
      await becomes("second", "WaitingForQuota");
      expect(await pods("second")).toEqual({ gated: 3, placed: 0 });
      // Pods that never ran are taken back as well.
      await suspend("second", true);
      await becomes("second", "Suspended");
      await suspend("second", false);
      await becomes("second", "WaitingForQuota");

      // An actor beyond the least waits by itself, and disturbs nobody.
      await cluster.kubectl("scale", "rpool/first-actor", "--replicas=2");
      await eventually("the actor beyond to wait", async () =>
        (await pods("first")).gated === 1 ? true : undefined,
      );
      expect(await pods("first")).toEqual({ gated: 1, placed: 3 });

      await suspend("first", true);
      await becomes("second", "Training");
      await pause("second");
      await suspend("first", false);
      await becomes("first", "WaitingForQuota");
      // With another image it is another group; which of the two that now wait is first is Kueue's to say.
      await patch("second", { image: "oarlock:next" });
      await eventually(
        "second to be of the new image alone",
        async () => {
          const images = (await podsOf("second")).flatMap(({ spec }) => spec.containers);
          return images.length === 3 && images.every(({ image }) => image === "oarlock:next")
            ? true
            : undefined;
        },
        { timeoutMs: 120_000 },
      );
      await cluster.kubectl("wait", "trun/second", "--for=condition=Complete", "--timeout=240s");
      await cluster.kubectl("wait", "trun/first", "--for=condition=Complete", "--timeout=240s");
      await sameDigest("first", "second");
      await remove("first", "second");
    }, 600_000);
  },
);

/** The component, for the tests' namespace and with a quota for one run. */
function writeOverlay(folder: string): void {
  cpSync(join(repositoryRoot(), "deploy/k8s/components/kueue"), join(folder, "component"), {
    recursive: true,
  });
  const replace = (kind: string, path: string, value: string): object => ({
    target: { kind },
    patch: JSON.stringify([{ op: "replace", path, value }]),
  });
  const overlay = {
    apiVersion: "kustomize.config.k8s.io/v1beta1",
    kind: "Kustomization",
    components: ["component"],
    patches: [
      replace("ClusterQueue", "/spec/resourceGroups/0/flavors/0/resources/0/nominalQuota", String(QUOTA)),
      replace("LocalQueue", "/metadata/namespace", NAMESPACE),
    ],
  };
  writeFileSync(join(folder, "kustomization.yaml"), JSON.stringify(overlay));
}
