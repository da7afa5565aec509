/**
 * A node whose pods are local processes: real API server, scheduler, Job and Deployment controllers drive real programs, in
 * seconds and without root. Each pod has a loopback address of its own; volumes are folders; paths of the container are
 * translated in its environment and arguments.
 */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type Api, createApi } from "./api.ts";
import type { ControlPlane } from "./control-plane.ts";
import { serveClusterNames } from "./cluster-names.ts";
import { claimPodAddresses } from "./pod-addresses.ts";
import type { KubePod, KubeVolume, Mounts } from "./pod-spec.ts";
import { type PodProcess, type PodStatus, startPod } from "./pod-process.ts";
import { freePort } from "./process.ts";

export interface ProcessKubeletOptions {
  readonly plane: ControlPlane;
  /** Programs of the image, by the first word of a command: how they are run here. */
  readonly programs: Readonly<Record<string, readonly string[]>>;
  /** Default "processes". */
  readonly nodeName?: string;
}

export interface ProcessKubelet extends AsyncDisposable {
  /** Process id of a running pod, by `namespace/name`. */
  pid(pod: string): number | undefined;
  log(pod: string): string;
  /** SIGKILL to a pod's process. */
  kill(pod: string): void;
  /** As when the machine loses its power: all processes at once, no more heartbeats, and nobody is told. */
  lose(): void;
}

const HEARTBEAT_MS = 2_000;
const RETRY_MS = 200;
const STRATEGIC = "application/strategic-merge-patch+json";

interface RunningPod {
  readonly pod: KubePod;
  readonly process: PodProcess;
  readonly confirm: Reporter["confirm"];
  deleting: boolean;
}

interface Starting {
  process?: PodProcess;
}

/** For a process that may not have been started yet. */
function standIn(starting: Starting): PodProcess {
  return {
    get pid() {
      return starting.process?.pid;
    },
    log: () => starting.process?.log() ?? "",
    kill: () => starting.process?.kill(),
    end: async (graceSeconds) => starting.process?.end(graceSeconds),
  };
}

/** Registers a node and runs what the scheduler places there. */
export async function startProcessKubelet(options: ProcessKubeletOptions): Promise<ProcessKubelet> {
  const { plane, programs, nodeName = "processes" } = options;
  const api = createApi({ url: plane.url, certificate: plane.certificate, token: plane.token() });
  const folder = mkdtempSync(join(tmpdir(), "oarlock-node-"));
  const pods = new Map<string, RunningPod>();
  const port = await freePort();
  const logs = await serveLogs(plane, { port, pods });
  await registerNode(api, { nodeName, port });
  const beat = setInterval(() => void heartbeat(api, nodeName).catch(() => undefined), HEARTBEAT_MS);
  const stopping = new AbortController();
  const addresses = await claimPodAddresses();
  const names = await serveClusterNames(api, folder);

  const start = async (pod: KubePod): Promise<void> => {
    const { uid } = pod.metadata;
    const podIp = addresses.next();
    const home = join(folder, uid);
    const { report, confirm } = createReporter(api, pod, { podIp, signal: stopping.signal });
    // The pod counts as known at once: events of it arrive while its volumes are made.
    const starting: Starting = {};
    const running: RunningPod = { pod, confirm, deleting: false, process: standIn(starting) };
    pods.set(uid, running);
    const mounts = await mountsOf(api, pod, home).catch((reason: unknown) => {
      // The next list or event of it tries again.
      pods.delete(uid);
      throw reason;
    });
    const lookup = async (kind: string, name: string, key: string): Promise<string> => {
      const data = await dataOf(api, { namespace: pod.metadata.namespace, kind, name });
      return data.get(key)?.toString() ?? "";
    };
    starting.process = startPod({
      pod,
      podIp,
      mounts,
      lookup,
      programs,
      report,
      folder: home,
      environment: names.environment,
    });
  };
  const finish = async (pod: KubePod): Promise<void> => {
    const running = pods.get(pod.metadata.uid);
    if (running?.deleting === true) return;
    if (running !== undefined) running.deleting = true;
    const over = ["Succeeded", "Failed"].includes(pod.status?.phase ?? "");
    if (!over) await running?.process.end(pod.metadata.deletionGracePeriodSeconds ?? 30);
    const body = { gracePeriodSeconds: 0, preconditions: { uid: pod.metadata.uid } };
    await api.request("DELETE", podPath(pod), { body });
  };
  const see = (pod: KubePod): void => {
    const known = pods.get(pod.metadata.uid);
    const over = ["Succeeded", "Failed"].includes(pod.status?.phase ?? "");
    if (pod.metadata.deletionTimestamp !== undefined) void finish(pod).catch(() => undefined);
    else if (known === undefined && !over) void start(pod).catch(() => undefined);
    else known?.confirm(pod);
  };
  const watching = watchPods(api, { nodeName, see, pods, signal: stopping.signal });
  const find = (key: string): RunningPod | undefined =>
    [...pods.values()].findLast(({ pod }) => `${pod.metadata.namespace}/${pod.metadata.name}` === key);
  const lose = (): void => {
    stopping.abort();
    clearInterval(beat);
    for (const { process } of pods.values()) process.kill();
  };
  return {
    lose,
    pid: (key) => find(key)?.process.pid,
    log: (key) => find(key)?.process.log() ?? "",
    kill: (key) => find(key)?.process.kill(),
    async [Symbol.asyncDispose]() {
      lose();
      logs.closeAllConnections();
      logs.close();
      addresses.release();
      names.close();
      await watching;
      api.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Tries until it works, or the node ends. */
async function untilDone(attempt: () => Promise<void>, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      return await attempt();
    } catch {
      await new Promise((done) => setTimeout(done, RETRY_MS));
    }
  }
}

interface Reporter {
  readonly report: (status: PodStatus) => Promise<void>;
  /** Says again that a pod is ready, where others say otherwise. */
  readonly confirm: (seen: KubePod) => void;
}

/** What a pod's status is told through. In order: a late report must not undo a newer one. */
function createReporter(
  api: Api,
  pod: KubePod,
  { podIp, signal }: { readonly podIp: string; readonly signal: AbortSignal },
): Reporter {
  let last: Promise<void> = Promise.resolve();
  let newest: PodStatus | undefined;
  // The API server may be away: nothing else says that a pod is ready.
  const reported = (status: PodStatus): Promise<void> =>
    untilDone(() => reportStatus(api, pod, { podIp, status }), signal);
  const report = (status: PodStatus): Promise<void> => {
    newest = status;
    return (last = last.then(() => reported(status)));
  };
  return {
    report,
    confirm(seen) {
      if (newest?.ready === true && !isReady(seen)) void report(newest);
    },
  };
}

/** As the API server has it: a node that was not heard for a while has its pods marked by others. */
function isReady({ status }: KubePod): boolean {
  return status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True") === true;
}

const podPath = ({ metadata }: KubePod): string =>
  `/api/v1/namespaces/${metadata.namespace}/pods/${metadata.name}`;

async function watchPods(
  api: Api,
  of: {
    readonly nodeName: string;
    readonly see: (pod: KubePod) => void;
    readonly pods: Map<string, RunningPod>;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const selector = `fieldSelector=spec.nodeName%3D${of.nodeName}`;
  while (!of.signal.aborted) {
    try {
      const { body } = await api.request<{ items: KubePod[]; metadata: { resourceVersion: string } }>(
        "GET",
        `/api/v1/pods?${selector}`,
      );
      for (const pod of body.items) of.see(pod);
      const path = `/api/v1/pods?watch=1&${selector}&resourceVersion=${body.metadata.resourceVersion}`;
      for await (const { type, object } of api.watch<KubePod>(path, of.signal)) {
        if (type === "ERROR") break;
        if (type !== "DELETED") of.see(object);
        else of.pods.get(object.metadata.uid)?.process.kill();
      }
    } catch {
      // The API server is away, or the test is over: pods go on, and the list is read again.
      await new Promise((done) => setTimeout(done, RETRY_MS));
    }
  }
}

async function registerNode(
  api: Api,
  { nodeName, port }: { readonly nodeName: string; readonly port: number },
): Promise<void> {
  await api.request("POST", "/api/v1/nodes", {
    body: {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name: nodeName, labels: { "kubernetes.io/hostname": nodeName } },
    },
  });
  const resources = { cpu: "64", memory: "256Gi", pods: "500", "ephemeral-storage": "1Ti" };
  const status = {
    capacity: resources,
    allocatable: resources,
    addresses: [
      { type: "InternalIP", address: "127.0.0.1" },
      { type: "Hostname", address: nodeName },
    ],
    daemonEndpoints: { kubeletEndpoint: { Port: port } },
  };
  await api.request("PATCH", `/api/v1/nodes/${nodeName}/status`, {
    body: { status },
    contentType: STRATEGIC,
  });
  await heartbeat(api, nodeName);
}

async function heartbeat(api: Api, nodeName: string): Promise<void> {
  const now = new Date().toISOString();
  const ready = { type: "Ready", status: "True", reason: "ProcessesRun", lastHeartbeatTime: now };
  const body = { status: { conditions: [ready] } };
  await api.request("PATCH", `/api/v1/nodes/${nodeName}/status`, { body, contentType: STRATEGIC });
}

async function reportStatus(
  api: Api,
  pod: KubePod,
  { podIp, status }: { readonly podIp: string; readonly status: PodStatus },
): Promise<void> {
  const [container] = pod.spec.containers;
  const { phase, ready, restarts, terminated, last } = status;
  const now = new Date().toISOString();
  const condition = (type: string, holds: boolean): object => ({
    type,
    status: holds ? "True" : "False",
    lastTransitionTime: now,
  });
  // A patch merges: the other state must be taken away.
  const state =
    terminated === undefined
      ? { running: { startedAt: now }, terminated: null }
      : { running: null, terminated: { ...terminated, reason: "Ended", startedAt: now, finishedAt: now } };
  const body = {
    status: {
      phase,
      podIP: podIp,
      podIPs: [{ ip: podIp }],
      hostIP: "127.0.0.1",
      startTime: now,
      conditions: [
        condition("PodScheduled", true),
        condition("Initialized", true),
        condition("ContainersReady", ready),
        condition("Ready", ready),
      ],
      containerStatuses: [
        {
          name: container?.name,
          image: container?.image,
          imageID: "",
          ready,
          started: true,
          restartCount: restarts,
          state,
          ...(last === undefined
            ? {}
            : { lastState: { terminated: { ...last, reason: "Ended", startedAt: now, finishedAt: now } } }),
        },
      ],
    },
  };
  await api.request("PATCH", `${podPath(pod)}/status`, { body, contentType: STRATEGIC });
}

async function mountsOf(api: Api, pod: KubePod, home: string): Promise<Mounts> {
  const [container] = pod.spec.containers;
  const mounts = new Map<string, string>();
  for (const { name, mountPath } of container?.volumeMounts ?? []) {
    const volume = pod.spec.volumes?.find((candidate) => candidate.name === name);
    if (volume === undefined) continue;
    const outer = [...mounts].find(([path]) => mountPath.startsWith(`${path}/`));
    const within = outer === undefined ? undefined : join(outer[1], mountPath.slice(outer[0].length));
    mounts.set(mountPath, await folderOf(api, pod, { volume, home, ...(within && { within }) }));
  }
  return mounts;
}

async function folderOf(
  api: Api,
  pod: KubePod,
  {
    volume,
    home,
    within,
  }: {
    readonly volume: KubeVolume;
    readonly home: string;
    /** Where it is mounted inside of another volume. */
    readonly within?: string;
  },
): Promise<string> {
  const { namespace } = pod.metadata;
  const { persistentVolumeClaim: claim, configMap, secret } = volume;
  if (claim !== undefined) {
    const behind = await claimFolder(api, namespace, claim.claimName);
    if (within === undefined) return behind;
    mkdirSync(dirname(within), { recursive: true });
    symlinkSync(behind, within);
    return within;
  }
  const folder = within ?? join(home, "volumes", volume.name);
  mkdirSync(folder, { recursive: true });
  const kind = configMap === undefined ? "secrets" : "configmaps";
  const name = configMap?.name ?? secret?.secretName;
  if (name === undefined) return folder;
  for (const [key, data] of await dataOf(api, { namespace, kind, name }))
    writeFileSync(join(folder, key), data);
  return folder;
}

/** The folder behind a claim: pods are placed only once it is bound. */
async function claimFolder(api: Api, namespace: string, name: string): Promise<string> {
  const claims = `/api/v1/namespaces/${namespace}/persistentvolumeclaims/${name}`;
  const claim = await api.request<{ spec: { volumeName: string } }>("GET", claims);
  const path = `/api/v1/persistentvolumes/${claim.body.spec.volumeName}`;
  const volume = await api.request<{ spec: { hostPath: { path: string } } }>("GET", path);
  const folder = volume.body.spec.hostPath.path;
  mkdirSync(folder, { recursive: true });
  return folder;
}

async function dataOf(
  api: Api,
  { namespace, kind, name }: { readonly namespace: string; readonly kind: string; readonly name: string },
): Promise<ReadonlyMap<string, Buffer>> {
  const path = `/api/v1/namespaces/${namespace}/${kind}/${name}`;
  const { body } = await api.request<{ data?: Record<string, string> }>("GET", path);
  const decode = (value: string): Buffer => Buffer.from(value, kind === "secrets" ? "base64" : "utf8");
  return new Map(Object.entries(body.data ?? {}).map(([key, value]) => [key, decode(value)]));
}

/** What `kubectl logs` asks a kubelet for. */
async function serveLogs(
  plane: ControlPlane,
  { port, pods }: { readonly port: number; readonly pods: ReadonlyMap<string, RunningPod> },
): Promise<Server> {
  const server = createServer({ key: plane.key, cert: plane.certificate }, (request, response) => {
    const [, namespace, name] = /^\/containerLogs\/([^/]+)\/([^/]+)\//.exec(request.url ?? "") ?? [];
    const running = [...pods.values()].findLast(
      ({ pod }) => pod.metadata.namespace === namespace && pod.metadata.name === name,
    );
    response.writeHead(running === undefined ? 404 : 200, { "content-type": "text/plain" });
    response.end(running?.process.log() ?? "no such pod");
  });
  await new Promise<void>((done) => server.listen(port, "127.0.0.1", done));
  return server;
}
