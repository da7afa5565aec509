/**
 * Many runs at once: one controller, a real API server, Job and Deployment controllers and scheduler, and a node that says of every
 * pod that it runs. Plans are made by a stand-in that takes no time of its own; nothing is trained.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Api,
  type ControlPlane,
  createApi,
  eventually,
  findKube,
  repositoryRoot,
  startControlPlane,
} from "@oarlock/testkit";
import { type Candidate, startCandidate } from "../kube/candidates.ts";
import { type BenchRow, median, type SkippedRow } from "./row.ts";
import { tinyModelSpec } from "../tiny-model.ts";

const RUNS = 50;
const ROLES = ["learner", "actor", "reward"];
/** Longer than a run that waits for its learner is left unlooked at. */
const REST_SECONDS = 40;
const WRITES = ["POST", "PUT", "PATCH", "DELETE"];
const NODE = "stub";
const BEAT_MS = 5_000;
const RUNS_PATH = "/apis/oarlock.dev/v1alpha1/trainingruns";

export async function rows(): Promise<readonly (BenchRow | SkippedRow)[]> {
  const kube = findKube();
  if (kube.absent) return [{ name: "kube.load", skipped: kube.note }];
  const folder = mkdtempSync(join(tmpdir(), "oarlock-load-"));
  await using plane = await startControlPlane({ controllers: true });
  await plane.kubectl(["apply", "-k", join(repositoryRoot(), "deploy/k8s/crds")]);
  await plane.kubectl(["wait", "--for=condition=Established", "crd", "--all", "--timeout=20s"]);
  const api = createApi({ url: plane.url, certificate: plane.certificate, token: plane.token() });
  const stopping = new AbortController();
  const planner = join(folder, "planner.cjs");
  writeFileSync(planner, 'process.stdout.write(JSON.stringify({ kind: "ResolvedRun", digest: "d" }));');
  const controller = await startCandidate(plane, "controller", {
    OARLOCK_LEADER_ELECTION: "false",
    OARLOCK_NATS_URL: "nats://127.0.0.1:4222",
    OARLOCK_PLANNER: `${process.execPath} ${planner}`,
  });
  try {
    // A kind that is established may take a moment more until it is served.
    await eventually("runs to be served", async () =>
      (await api.request("GET", RUNS_PATH)).code === 200 ? true : undefined,
    );
    await registerNode(api, stopping.signal);
    return await measure({ plane, api, controller, signal: stopping.signal });
  } finally {
    stopping.abort();
    await controller.kill();
    api.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measure(of: {
  readonly plane: ControlPlane;
  readonly api: Api;
  readonly controller: Candidate;
  readonly signal: AbortSignal;
}): Promise<readonly BenchRow[]> {
  const { plane, api, controller, signal } = of;
  const seen = watchRuns(api, signal);
  const input = JSON.stringify({
    apiVersion: "v1",
    kind: "List",
    items: Array.from({ length: RUNS }, runOf),
  });
  const startMs = performance.now();
  const { code, stderr } = await plane.kubectl(["apply", "-f", "-"], { input });
  if (code !== 0) throw new Error(stderr);
  const patience = { timeoutMs: 180_000, everyMs: 100 };
  const all = (): true | undefined => (seen.seconds().length === RUNS ? true : undefined);
  await eventually("the pods of all runs", all, patience);
  const made = await countsOf(controller);
  const madeSeconds = (performance.now() - startMs) / 1_000;
  // Until every pod is said to run and nothing more is written.
  await eventually(
    "the controller to come to rest",
    async () => {
      const before = await countsOf(controller);
      await new Promise((done) => setTimeout(done, 3_000));
      return (await countsOf(controller)).writes === before.writes ? true : undefined;
    },
    patience,
  );
  const rest = await countsOf(controller);
  await new Promise((done) => setTimeout(done, REST_SECONDS * 1_000));
  const later = await countsOf(controller);
  const reconciles = later.reconciles - rest.reconciles;
  const seconds = seen.seconds().toSorted((a, b) => a - b);
  const row = (name: string, value: number, unit: string): BenchRow => ({
    name: `kube.load.${name}`,
    value,
    unit,
  });
  return [
    row("pods.median", median(seconds), "s"),
    row("pods.p99", seconds.at(Math.ceil(seconds.length * 0.99) - 1) ?? Number.NaN, "s"),
    row("reconciles", made.reconciles / madeSeconds, "1/s"),
    row("writes.per_run", rest.writes / RUNS, "requests"),
    row("rest.reconciles", reconciles, "reconciles"),
    row("rest.requests_per_reconcile", (later.requests - rest.requests) / reconciles, "requests"),
    row("rest.writes", later.writes - rest.writes, "requests"),
    row("controller.memory", residentMiB(controller.pid), "MiB"),
  ];
}

function runOf(_: unknown, at: number): object {
  const data = { type: "task", task: { name: "addition" } };
  const spec = {
    model: tinyModelSpec(32),
    stages: [{ name: "warm", type: "sft", sft: { data, steps: 1 } }],
    storage: { type: "emptyDir", emptyDir: { acceptLoss: true } },
  };
  const metadata = { name: `run-${at}`, namespace: "default" };
  return { apiVersion: "oarlock.dev/v1alpha1", kind: "TrainingRun", metadata, spec };
}

interface Named {
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly spec?: { readonly nodeName?: string };
  readonly status?: { readonly phase?: string };
}

/** Seconds from a run's appearance to that of a pod of each of its roles; pods on the node run at once. */
function watchRuns(api: Api, signal: AbortSignal): { seconds(): readonly number[] } {
  const [appeared, roles, whole] = [
    new Map<string, number>(),
    new Map<string, Set<string>>(),
    new Map<string, number>(),
  ];
  const see = async (path: string, each: (object: Named) => void): Promise<void> => {
    for await (const { object } of api.watch<Named>(path, signal)) each(object);
  };
  const ended = (reason: unknown): void => {
    if (!signal.aborted) throw reason;
  };
  see(`${RUNS_PATH}?watch=1`, ({ metadata }) => {
    if (!appeared.has(metadata.name)) appeared.set(metadata.name, performance.now());
  }).catch(ended);
  see("/api/v1/pods?watch=1", (pod) => {
    const { "oarlock.dev/run": run = "", "oarlock.dev/role": role = "" } = pod.metadata.labels ?? {};
    const has = roles.get(run) ?? new Set();
    roles.set(run, has.add(role));
    if (has.size === ROLES.length && !whole.has(run)) whole.set(run, performance.now());
    if (pod.spec?.nodeName === NODE && pod.status?.phase === "Pending") void runs(api, pod).catch(ended);
  }).catch(ended);
  return {
    seconds: () => [...whole].map(([run, ms]) => (ms - (appeared.get(run) ?? Number.NaN)) / 1_000),
  };
}

const MERGE = "application/merge-patch+json";

async function runs(api: Api, { metadata }: Named): Promise<void> {
  const conditions = [{ type: "Ready", status: "True" }];
  const status = { phase: "Running", podIP: "127.0.0.2", podIPs: [{ ip: "127.0.0.2" }], conditions };
  const path = `/api/v1/namespaces/default/pods/${metadata.name}/status`;
  await api.request("PATCH", path, { body: { status }, contentType: MERGE });
}

/** A node that is not heard of counts as gone, and its pods as not ready. */
async function registerNode(api: Api, signal: AbortSignal): Promise<void> {
  const metadata = { name: NODE };
  await api.request("POST", "/api/v1/nodes", { body: { apiVersion: "v1", kind: "Node", metadata } });
  const resources = { cpu: "640", memory: "2560Gi", pods: "1000" };
  const beat = async (): Promise<void> => {
    const lastHeartbeatTime = new Date().toISOString();
    const conditions = [{ type: "Ready", status: "True", reason: "Stub", lastHeartbeatTime }];
    const body = { status: { capacity: resources, allocatable: resources, conditions } };
    await api.request("PATCH", `/api/v1/nodes/${NODE}/status`, { body, contentType: MERGE });
  };
  await beat();
  const beats = setInterval(() => void beat().catch(() => undefined), BEAT_MS);
  signal.addEventListener("abort", () => clearInterval(beats), { once: true });
}

interface Counts {
  readonly reconciles: number;
  readonly requests: number;
  readonly writes: number;
}

/** What the controller says of itself. */
async function countsOf(controller: Candidate): Promise<Counts> {
  const page = await controller.page();
  const sum = (pattern: RegExp): number =>
    [...page.matchAll(pattern)].reduce((total, [, value]) => total + Number(value), 0);
  return {
    reconciles: sum(/^controller_runtime_reconcile_total\{.*\} (\d+)$/gm),
    requests: sum(/^rest_client_requests_total\{.*\} (\d+)$/gm),
    writes: sum(
      new RegExp(`^rest_client_requests_total\\{.*method="(?:${WRITES.join("|")})".*\\} (\\d+)$`, "gm"),
    ),
  };
}

function residentMiB(pid: number | undefined): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1_024;
}
