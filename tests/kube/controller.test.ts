/**
 * The controller against a real API server without nodes: many runs, no writes at rest, two controllers that do not fight, an
 * API server that goes away, and requests that fail on the way.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningController, startController } from "@oarlock/controller";
import { connect, type Connection } from "@oarlock/kube";
import { Lifecycle, silentLog, systemClock } from "@oarlock/runtime";
import {
  type ControlPlane,
  eventually,
  findKube,
  repositoryRoot,
  startControlPlane,
  suiteFolder,
} from "@oarlock/testkit";
import { tinyModelSpec } from "../tiny-model.ts";

const kube = findKube(["etcd", "kube-apiserver", "kubectl"]);
const RUNS = 20;
const WRITES = ["POST", "PUT", "PATCH", "DELETE"];

const run = (name: string, replicas: number, more: object = {}): object => ({
  apiVersion: "oarlock.dev/v1alpha1",
  kind: "TrainingRun",
  metadata: { name, namespace: "default" },
  spec: {
    model: tinyModelSpec(32),
    stages: [
      { name: "warm", type: "sft", sft: { data: { type: "task", task: { name: "addition" } }, steps: 1 } },
    ],
    roles: [
      // Quantities that the API server writes in another way.
      { name: "actor", replicas, resources: { requests: { cpu: "1000m", memory: "1024Mi" } } },
    ],
    ...more,
  },
});

interface List {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly resourceVersion: string };
  }[];
}

describe.skipIf(kube.absent)(`controller${kube.note}`, () => {
  const folder = suiteFolder("controller");
  let plane: ControlPlane;
  let connection: Connection;
  const lifecycles: Lifecycle[] = [];

  /** Resolving a plan is not under test here: it has a test of its own, and takes a second each. */
  const planner = (): string => {
    const file = join(folder, "planner.cjs");
    writeFileSync(file, 'process.stdout.write(JSON.stringify({ kind: "ResolvedRun", digest: "d" }));');
    return file;
  };
  const start = async (identity: string): Promise<RunningController> => {
    const lifecycle = new Lifecycle({ name: identity });
    lifecycles.push(lifecycle);
    const children = {
      image: "oarlock:1",
      natsUrl: "nats://nats:4222",
      natsImage: "nats:2",
      namespace: "default",
    };
    return startController({
      config: {
        children,
        identity,
        watchNamespace: undefined,
        planner: [process.execPath, planner()],
        host: "127.0.0.1",
        port: 0,
        elect: false,
        graceMs: 5_000,
      },
      connection,
      lifecycle,
      clock: systemClock,
      log: silentLog,
    });
  };
  const writes = (controller: RunningController): number => {
    const { requests } = controller.runs.controller.metrics;
    return WRITES.reduce((sum, method) => sum + (requests.get(method) ?? 0), 0);
  };
  const rest = async (ms: number): Promise<void> => {
    await new Promise((done) => setTimeout(done, ms));
  };
  const quiet = (controllers: readonly RunningController[]) =>
    eventually(
      "the controllers to come to rest",
      async () => {
        const before = controllers.map(writes);
        await rest(3_000);
        return controllers.every((controller, at) => writes(controller) === before[at]) ? true : undefined;
      },
      { timeoutMs: 120_000 },
    );

  beforeAll(async () => {
    plane = await startControlPlane();
    connection = connect({ kubeconfig: plane.kubeconfig() });
    await plane.kubectl(["apply", "-k", join(repositoryRoot(), "deploy/k8s/crds")]);
    await plane.kubectl(["wait", "--for=condition=Established", "crd", "--all", "--timeout=20s"]);
  });
  afterAll(async () => {
    for (const lifecycle of lifecycles) await lifecycle.end("the test is over");
    connection.close();
    await plane[Symbol.asyncDispose]();
  });

  it("makes every child of many runs, and then writes nothing, alone and beside a second controller", async () => {
    const one = await start("one");
    const elsewhere = run("elsewhere", 2, { managedBy: "kueue.x-k8s.io/multikueue" });
    const items = [elsewhere, ...Array.from({ length: RUNS }, (_, at) => run(`run-${at}`, 2))];
    const input = JSON.stringify({ apiVersion: "v1", kind: "List", items });
    expect(await plane.kubectl(["apply", "-f", "-"], { input })).toMatchObject({ code: 0 });
    await eventually(
      "the Deployments of all runs",
      async () => ((await plane.get<List>(["deploy"])).items.length === 2 * RUNS ? true : undefined),
      { timeoutMs: 120_000 },
    );
    await quiet([one]);
    expect((await plane.get<List>(["job"])).items.length).toBe(RUNS);
    // Another cluster's to act on.
    expect(await plane.get<object>(["trun", "elsewhere"])).not.toHaveProperty("status");
    expect(one.runs.controller.metrics.count("error")).toBe(0);

    const reconciled = one.runs.controller.metrics.count("requeue_after");
    const before = writes(one);
    const two = await start("two");
    await eventually("the second controller's views", () => (two.runs.synced() ? true : undefined));
    await rest(5_000);
    await quiet([one, two]);
    // It looked at everything, and found it as it should be.
    expect(two.runs.controller.metrics.count("requeue_after")).toBeGreaterThanOrEqual(RUNS);
    expect([writes(one) - before, writes(two)]).toEqual([0, 0]);
    expect(one.runs.controller.metrics.count("requeue_after")).toBeGreaterThanOrEqual(reconciled);

    const page = await (await fetch(`http://${one.address}/metrics`)).text();
    expect(page).toMatch(/controller_runtime_reconcile_total\{.*result="requeue_after"\} [1-9]/);
    expect(page).toMatch(
      /rest_client_requests_total\{code="201",method="PATCH",host="127.0.0.1:\d+"\} [1-9]/,
    );
    // Alerts and panels select series that are there.
    const asked = selectorsOfController();
    expect(asked.length).toBeGreaterThan(4);
    expect(asked.filter(({ name, labels }) => !hasSeries(page, name, labels))).toEqual([]);
    expect((await fetch(`http://${one.address}/readyz`)).status).toBe(200);
  }, 300_000);

  it("gives autoscalers a number and a selector to work with", async () => {
    const path = "/apis/oarlock.dev/v1alpha1/namespaces/default/rolepools/run-0-actor/scale";
    const { stdout } = await plane.kubectl(["get", "--raw", path]);
    expect(JSON.parse(stdout)).toMatchObject({
      spec: { replicas: 2 },
      status: { replicas: 0, selector: "oarlock.dev/run=run-0,oarlock.dev/role=actor" },
    });
  });

  it.each([
    ["a field that no pod has", { spec: { hostNetwrok: true } }, "hostNetwrok"],
    ["a value that no pod may have", { spec: { restartPolicy: "OnFailure" } }, "restartPolicy"],
  ])("says what the API server finds wrong in a pod template: %s", async (_, template, words) => {
    const patch = JSON.stringify({ spec: { roles: [{ name: "actor", replicas: 2, template }] } });
    const patched = await plane.kubectl(["patch", "trun", "run-4", "--type=merge", "-p", patch]);
    expect(patched).toMatchObject({ code: 0 });
    interface Run {
      readonly status: {
        readonly conditions: readonly {
          readonly type: string;
          readonly reason: string;
          readonly message: string;
        }[];
      };
    }
    const ready = async () =>
      (await plane.get<Run>(["trun", "run-4"])).status.conditions.find(({ type }) => type === "Ready");
    const told = await eventually("the refusal", async () => {
      const found = await ready();
      return found?.reason === "ChildRefused" && found.message.includes(words) ? found : undefined;
    });
    expect(told.message).toContain("run-4-actor");
    const label = { metadata: { labels: { team: "x" } } };
    const mended = JSON.stringify({ spec: { roles: [{ name: "actor", replicas: 2, template: label }] } });
    await plane.kubectl(["patch", "trun", "run-4", "--type=merge", "-p", mended]);
    await eventually("the run to go on", async () =>
      (await ready())?.reason === "ChildRefused" ? undefined : true,
    );
    const { stdout } = await plane.kubectl([
      "get",
      "deploy",
      "run-4-actor",
      "-o",
      "jsonpath={.spec.template.metadata.labels}",
    ]);
    expect(JSON.parse(stdout)).toMatchObject({ team: "x", "oarlock.dev/role": "actor" });
  });

  it("repairs what somebody changed or deleted, and goes on after the API server was away", async () => {
    await plane.kubectl(["delete", "svc", "run-0-actor"]);
    await plane.kubectl(["patch", "deploy", "run-1-actor", "--type=merge", "-p", '{"spec":{"replicas":9}}']);
    const replicasOf = async (name: string): Promise<number | undefined> =>
      (await plane.get<{ spec: { replicas?: number } }>(["deploy", name])).spec.replicas;
    await eventually("the Service to be back", async () =>
      (await plane.kubectl(["get", "svc", "run-0-actor"])).code === 0 ? true : undefined,
    );
    await eventually("the replicas to be back", async () =>
      (await replicasOf("run-1-actor")) === 2 ? true : undefined,
    );
    await plane.killApiServer();
    await rest(3_000);
    await plane.startApiServer();
    const scaled = await plane.kubectl(["scale", "rpool/run-2-actor", "--replicas=5"]);
    expect(scaled).toMatchObject({ code: 0 });
    await eventually(
      "the scale to be applied",
      async () => ((await replicasOf("run-2-actor")) === 5 ? true : undefined),
      { timeoutMs: 90_000 },
    );
    expect(await replicasOf("run-3-actor")).toBe(2);
  }, 240_000);
});

interface Selector {
  readonly name: string;
  /** `label="value"` */
  readonly labels: readonly string[];
}

/** What rules and dashboard ask of the controller's own metrics. */
function selectorsOfController(): readonly Selector[] {
  const folder = join(repositoryRoot(), "deploy/k8s/components/prometheus");
  const text = ["rules.yaml", "dashboard.json"]
    .map((file) => readFileSync(join(folder, file), "utf8"))
    .join();
  const selector = /\b((?:controller_runtime|workqueue|rest_client|leader_election)_\w+)\{([^}]*)\}/g;
  return [...text.replaceAll('\\"', '"').matchAll(selector)].map(([, name = "", labels = ""]) => ({
    name,
    labels: labels.split(","),
  }));
}

function hasSeries(page: string, name: string, labels: readonly string[]): boolean {
  return page
    .split("\n")
    .some((line) => line.startsWith(`${name}{`) && labels.every((label) => line.includes(label)));
}
