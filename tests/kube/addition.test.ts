/**
 * The addition run on a cluster, from `kubectl apply` to `Complete`: scaled, also to zero, its pods deleted and evicted, suspended
 * and resumed, its controller killed, the API server away; and the weights are those of one undisturbed process, bit for bit (D1).
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { instructionSet } from "@oarlock/ort";
import { eventually, suiteFolder } from "@oarlock/testkit";
import { finalDigest, oarlockHere } from "../one-process.ts";
import {
  type Cluster,
  clusterNeeds,
  learnerAddress,
  NAMESPACE,
  pauseLearner,
  resumeLearner,
  startCluster,
} from "./cluster.ts";

interface Run {
  readonly metadata: { readonly uid: string };
  readonly status?: {
    readonly progress?: { readonly step: number; readonly totalSteps: number };
    readonly policyDigest?: string;
    readonly checkpoint?: { readonly step?: number };
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason: string;
      readonly message: string;
    }[];
    readonly roles?: readonly {
      readonly name: string;
      readonly ready: number;
      readonly restarts: number;
      readonly devices?: readonly Device[];
    }[];
    readonly metrics?: readonly { readonly name: string; readonly value: string }[];
  };
}

interface Device {
  readonly provider: string;
  readonly device: string;
  readonly driver: string;
  readonly pods: number;
}

interface Pool {
  readonly status: {
    readonly devices?: readonly Device[];
    readonly conditions: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason: string;
    }[];
  };
}

interface Pods {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
    readonly status: {
      readonly phase: string;
      readonly podIP?: string;
      readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    };
  }[];
}

const needs = clusterNeeds();

/** Two-digit addition, small enough for seconds, long enough to be disturbed. */
const RUN = `apiVersion: oarlock.dev/v1alpha1
kind: TrainingRun
metadata: { name: addition }
spec:
  seed: 7
  model:
    init:
      hiddenSize: 64
      intermediateSize: 192
      layers: 4
      heads: 4
      maxPositions: 32
      tokenizer: { type: characters, characters: { alphabet: "0123456789+=" } }
  pipeline: { mode: lockstep, lag: 1 }
  stages:
    - name: sft
      type: sft
      sft:
        data: { type: task, task: { name: addition, digits: 2, split: train } }
        steps: 30
        batchSize: 32
        optimizer: { learningRate: 3e-3, warmupSteps: 5, weightDecay: 0 }
    - name: grpo
      type: grpo
      grpo:
        data: { type: task, task: { name: addition, digits: 2, split: train } }
        steps: 85
        promptsPerStep: 16
        groupSize: 8
        sampling: { maxNewTokens: 4 }
        rewards: [{ name: answer, type: exact }]
        optimizer: { learningRate: 4e-4, warmupSteps: 5, weightDecay: 0 }
  checkpoints: { every: 10 }
  roles: [{ name: actor, replicas: 1, maxReplicas: 8 }]
`;

describe.skipIf(needs.absent)(`a run on a cluster${needs.note}`, () => {
  const folder = suiteFolder("cluster");
  let cluster: Cluster;
  const get = (): Promise<Run> => cluster.plane.get<Run>(["-n", NAMESPACE, "trun", "addition"]);
  const step = async (): Promise<number> => (await get()).status?.progress?.step ?? 0;
  const reach = (least: number) =>
    eventually(`step ${least}`, async () => ((await step()) >= least ? true : undefined), {
      timeoutMs: 240_000,
      everyMs: 500,
    });
  const ready = (role: string, count: number) =>
    eventually(
      `${count} ${role} pods to serve`,
      async () => {
        const roles = (await get()).status?.roles ?? [];
        return roles.find(({ name }) => name === role)?.ready === count ? true : undefined;
      },
      { timeoutMs: 120_000, everyMs: 500 },
    );
  const pods = async (role: string): Promise<Pods["items"]> => {
    const selector = `oarlock.dev/run=addition,oarlock.dev/role=${role}`;
    const { items } = await cluster.plane.get<Pods>(["-n", NAMESPACE, "pods", "-l", selector]);
    return items.filter(({ status }) => status.phase === "Running");
  };
  const deletePod = async (role: string): Promise<string> => {
    const [pod] = await pods(role);
    if (pod === undefined) throw new Error(`no ${role} pod runs`);
    await cluster.kubectl("delete", "pod", pod.metadata.name, "--wait=false");
    return pod.metadata.name;
  };

  /** As a drain of its node asks for it: budgets are heard, and it counts as nobody's fault. */
  const evictPod = async (role: string): Promise<string> => {
    // The budget protects pods that serve: one that took the place of another a moment ago may always be evicted.
    const serves = ({ metadata, status }: Pods["items"][number]): boolean =>
      metadata.deletionTimestamp === undefined &&
      status.conditions?.find(({ type }) => type === "Ready")?.status === "True";
    const name = (await pods(role)).find(serves)?.metadata.name ?? "";
    const metadata = { name, namespace: NAMESPACE };
    const input = JSON.stringify({ apiVersion: "policy/v1", kind: "Eviction", metadata });
    const path = `/api/v1/namespaces/${NAMESPACE}/pods/${name}/eviction`;
    const { code, stderr } = await cluster.plane.kubectl(["create", "--raw", path, "-f", "-"], { input });
    if (code !== 0) throw new Error(stderr);
    return name;
  };
  /** Applies a run file under another name, and waits until it has failed. */
  const failureOf = async (name: string, file: string, timeout = "60s") => {
    const path = join(folder, `${name}.yaml`);
    writeFileSync(path, file.replace("name: addition }", `name: ${name} }`));
    await cluster.kubectl("apply", "-f", path);
    await cluster.kubectl("wait", `trun/${name}`, "--for=condition=Failed", `--timeout=${timeout}`);
    const { status } = await cluster.plane.get<Run>(["-n", NAMESPACE, "trun", name]);
    return { status, failed: status?.conditions?.find(({ type }) => type === "Failed") };
  };
  /** Steps of the present stage, as a learner's metrics have them. */
  const stepsOf = async (learner: Pods["items"][number] | undefined): Promise<number> => {
    const page = await (await fetch(`http://${learner?.status.podIP}:9464/metrics`)).text();
    return Number(/^oarlock_learner_step(?:\{.*\})? (\d+)/m.exec(page)?.[1]);
  };
  /** Waits until a learner has gone so far on. Asked itself: the run's status would say so seconds, and many steps, later. */
  const train = (steps: number): Promise<true> => {
    let from: number | undefined;
    const trained = async (): Promise<true | undefined> => {
      const serving = (await pods("learner")).find(
        ({ metadata }) => metadata.deletionTimestamp === undefined,
      );
      const at = await stepsOf(serving);
      if (Number.isNaN(at)) return undefined;
      from ??= at;
      return at >= from + steps ? true : undefined;
    };
    return eventually(`${steps} steps more`, trained, { timeoutMs: 240_000, everyMs: 300 });
  };

  beforeAll(async () => {
    writeFileSync(join(folder, "run.yaml"), RUN);
    cluster = await startCluster(folder);
  }, 180_000);
  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]();
  }, 60_000);

  it("D1: is scaled, killed, suspended and resumed, and ends with the weights of one undisturbed process", async () => {
    const { kubelet, plane } = cluster;
    const kubectl = (...args: readonly string[]) => cluster.kubectl(...args);
    await kubectl("apply", "-f", join(folder, "run.yaml"));
    const { uid } = (await get()).metadata;
    await reach(5);
    expect(await kubectl("get", "trun")).toMatch(/addition\s+True\s+Training/);

    // An editor's kubectl scale, and pods that come and go. No step is needed while four actors start.
    const address = await learnerAddress(cluster, "addition");
    await pauseLearner(address);
    const scaled = await plane.kubectl(["-n", NAMESPACE, "scale", "rpool/addition-actor", "--replicas=4"], {
      user: "editor",
    });
    expect(scaled).toMatchObject({ code: 0 });
    await ready("actor", 4);
    const pool = () => plane.get<Pool>(["-n", NAMESPACE, "rpool", "addition-actor"]);
    const devices = await eventually("all actors to have said what they compute on", async () => {
      const { status } = await pool();
      return status.devices?.[0]?.pods === 4 ? status.devices : undefined;
    });
    const driver = expect.stringMatching(/^ONNX Runtime \S+ \(native\)$/);
    expect(devices).toEqual([
      { provider: "cpu", device: expect.stringContaining(instructionSet()), driver, pods: 4 },
    ]);
    const learners = (await get()).status?.roles?.find(({ name }) => name === "learner")?.devices;
    expect(learners).toEqual([{ ...devices[0], pods: 1 }]);
    await resumeLearner(address);
    await reach(35);
    await evictPod("actor");
    await expect(evictPod("actor")).rejects.toThrow("violate the pod's disruption budget");
    await deletePod("actor");
    await kubectl("scale", "rpool/addition-actor", "--replicas=0");
    await ready("actor", 0);
    await kubectl("scale", "rpool/addition-actor", "--replicas=2");
    await train(5);

    // The learner's pod: it drains to a checkpoint, and the Job makes another, which is no failure.
    const gone = await evictPod("learner");
    await eventually(
      "another learner",
      async () => (await pods("learner")).find(({ metadata }) => metadata.name !== gone),
      { timeoutMs: 60_000 },
    );
    await train(5);

    // The learner's process, without a warning: a failure that counts, and that the Job bears.
    const [learner] = await pods("learner");
    kubelet.kill(`${NAMESPACE}/${learner?.metadata.name}`);
    await train(5);

    // Nobody of the run asks the API server for anything.
    const [alive] = await pods("learner");
    const serves = `${alive?.status.podIP}:50051`;
    await pauseLearner(serves);
    await plane.killApiServer();
    const before = await stepsOf(alive);
    await resumeLearner(serves);
    const trains = async () => ((await stepsOf(alive)) >= before + 10 ? true : undefined);
    await eventually("steps without an API server", trains, { timeoutMs: 60_000 });
    // It must not be through before it is suspended, however long the control plane takes.
    await pauseLearner(serves);
    await plane.startApiServer();

    // The controller dies; the run does not notice, and another controller goes on.
    const controllers = await plane.get<Pods>(["-n", "oarlock-system", "pods"]);
    kubelet.kill(`oarlock-system/${controllers.items[0]?.metadata.name}`);

    await kubectl("patch", "trun", "addition", "--type=merge", "-p", '{"spec":{"suspend":true}}');
    await kubectl("wait", "trun/addition", "--for=condition=Suspended", "--timeout=120s");
    expect(await pods("learner")).toEqual([]);
    expect(await pods("actor")).toEqual([]);
    const suspendedAt = await step();
    await kubectl("patch", "trun", "addition", "--type=merge", "-p", '{"spec":{"suspend":false}}');
    await reach(suspendedAt + 1);

    await kubectl("wait", "trun/addition", "--for=condition=Complete", "--timeout=300s");
    const { status } = await get();
    expect(status?.progress).toMatchObject({ step: 115, totalSteps: 115 });
    expect(status?.checkpoint?.step).toBe(115);
    expect(status?.metrics?.some(({ name }) => name === "reward_mean")).toBe(true);
    // The killed process is the only failure: the deleted pod and the suspension ended in order.
    expect(status?.roles?.find(({ name }) => name === "learner")?.restarts).toBe(1);
    const described = await kubectl("describe", "trun", "addition");
    for (const reason of ["Training", "Scaled", "Suspended", "Complete"]) expect(described).toContain(reason);

    const alone = join(folder, "alone");
    oarlockHere("run", join(folder, "run.yaml"), "--out", alone);
    expect(finalDigest(join(cluster.volume, "runs", uid))).toBe(finalDigest(alone));
    expect(readFileSync(join(alone, "summary.json"), "utf8")).toContain(`"${status?.policyDigest}"`);
  }, 900_000);

  it("is refused for good where its plan walks into a trap, in the command line's words", async () => {
    const uneven = RUN.replace("batchSize: 32\n", "batchSize: 32\n        microBatchSize: 5\n");
    const { failed } = await failureOf("uneven", uneven);
    expect(failed?.reason).toBe("PlanRefused");
    expect(failed?.message).toContain("32 sequences do not split into micro-batches of 5");
    const { code } = await cluster.plane.kubectl(["-n", NAMESPACE, "get", "job", "uneven-learner"]);
    expect(code).not.toBe(0);
    await cluster.kubectl("delete", "trun", "uneven", "--timeout=60s");
  }, 180_000);

  it("fails where it asks for a card that is not there, and never computes on the CPU instead", async () => {
    const carded = RUN.replace("\nspec:", "\nspec:\n  compute: { provider: cuda }");
    const { failed, status } = await failureOf("carded", carded, "120s");
    expect(failed?.reason).toBe("DeviceMissing");
    expect(failed?.message).toMatch(/computes on 'cuda' and finds no such device.*libcudart/);
    expect(status?.progress?.step ?? 0).toBe(0);
    const gone = async () => {
      const selector = "oarlock.dev/run=carded";
      const { items } = await cluster.plane.get<Pods>(["-n", NAMESPACE, "pods", "-l", selector]);
      return items.some(({ status: of }) => of.phase === "Running" || of.phase === "Pending")
        ? undefined
        : true;
    };
    await eventually("its pods to go", gone, { timeoutMs: 60_000 });
    expect(await cluster.kubectl("describe", "trun", "carded")).toMatch(/Warning\s+DeviceMissing/);
    await cluster.kubectl("delete", "trun", "carded", "--timeout=60s");
  }, 240_000);

  it("fails at its deadline, and goes by itself once its time to live is over", async () => {
    const late = RUN.replace("\nspec:", "\nspec:\n  activeDeadlineSeconds: 2\n  ttlSecondsAfterFinished: 5");
    const { failed } = await failureOf("late", late);
    expect(failed?.reason).toBe("DeadlineExceeded");
    await cluster.kubectl("wait", "trun/late", "--for=delete", "--timeout=60s");
    const left = () =>
      cluster.kubectl("get", "job,deploy,pod,rpool", "-l", "oarlock.dev/run=late", "-o", "name");
    await eventually("its parts to go with it", async () => ((await left()) === "" ? true : undefined), {
      timeoutMs: 60_000,
    });
  }, 200_000);

  it("leaves no object and no stream behind when it is deleted", async () => {
    const { uid } = (await get()).metadata;
    // What the message server stores lies in folders that carry the run's uid.
    const stored = (): string[] =>
      readdirSync(join(folder, "nats/store"), { recursive: true, encoding: "utf8" }).filter((path) =>
        path.includes(uid),
      );
    expect(stored().length).toBeGreaterThan(0);
    await cluster.kubectl("delete", "trun", "addition", "--timeout=120s");
    expect(stored()).toEqual([]);
    const kinds = "rpool,deploy,job,pod,svc,cm,sa,pvc,pdb,netpol";
    await eventually(
      "all objects of the run to go",
      async () => {
        const { items } = await cluster.plane.get<Pods>([
          "-n",
          NAMESPACE,
          kinds,
          "-l",
          "oarlock.dev/run=addition",
        ]);
        return items.length === 0 ? true : undefined;
      },
      { timeoutMs: 60_000 },
    );
  }, 200_000);
});
