/**
 * A cluster as the manifests make it: control plane, a node of processes, `deploy/k8s/base` with the controller under its own
 * account, a namespace of the restricted level, volumes, and a NATS server. Needs `npm run build`.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type NatsServer, startNatsServer } from "@oarlock/bus";
import { LearnerService } from "@oarlock/proto";
import { openChannel, type TlsOptions } from "@oarlock/rpc";
import {
  type ControlPlane,
  eventually,
  findKube,
  type ProcessKubelet,
  repositoryRoot,
  requireNatsServer,
  startControlPlane,
  startProcessKubelet,
} from "@oarlock/testkit";

export const NAMESPACE = "team";
const CONTROLLER = "system:serviceaccount:oarlock-system:oarlock-controller";

export interface ClusterOptions {
  /** Seconds without a word from a node until it counts as lost. Default Kubernetes': 50. */
  readonly nodeGraceSeconds?: number;
}

export interface Cluster extends AsyncDisposable {
  readonly plane: ControlPlane;
  readonly kubelet: ProcessKubelet;
  readonly nats: NatsServer;
  /** Where the volumes of the runs' claims lie. */
  readonly volume: string;
  /** Runs kubectl in the namespace of the run, and fails where it fails. */
  kubectl(...args: readonly string[]): Promise<string>;
  /** Another node, which may be lost. */
  addNode(nodeName: string): Promise<ProcessKubelet>;
}

/** What these tests need and may lack. */
export function clusterNeeds(): { readonly absent: boolean; readonly note: string } {
  const [kube, nats] = [findKube(), requireNatsServer()];
  return { absent: kube.absent || nats.absent, note: kube.note + nats.note };
}

/** Starts it and installs the controller; what had started ends where that fails. */
export async function startCluster(folder: string, options: ClusterOptions = {}): Promise<Cluster> {
  const started: (() => PromiseLike<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (const end of started.splice(0).toReversed()) await end();
  };
  try {
    return { ...(await start(folder, started, options)), [Symbol.asyncDispose]: stop };
  } catch (reason) {
    await stop();
    throw reason;
  }
}

/** Adds to `started` what ends each part of it. */
async function start(
  folder: string,
  started: (() => PromiseLike<void>)[],
  options: ClusterOptions,
): Promise<Omit<Cluster, typeof Symbol.asyncDispose>> {
  const nats = await startNatsServer({ path: requireNatsServer().path, folder: join(folder, "nats") });
  started.push(() => nats.stop());
  const users = [
    // The account of the manifests, by a token: its rights are the manifests', not an administrator's.
    { name: CONTROLLER, groups: ["system:serviceaccounts", "system:serviceaccounts:oarlock-system"] },
    { name: "editor" },
  ];
  const plane = await startControlPlane({ controllers: true, users, ...options });
  started.push(() => plane[Symbol.asyncDispose]());
  const addNode = async (nodeName: string): Promise<ProcessKubelet> => {
    const node = await startProcessKubelet({ plane, programs: programs(plane, nats.url), nodeName });
    started.push(() => node[Symbol.asyncDispose]());
    return node;
  };
  const kubelet = await addNode("processes");
  const volume = join(folder, "volume");
  mkdirSync(volume);
  const kubectl = async (...args: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await plane.kubectl(["-n", NAMESPACE, ...args]);
    if (code !== 0) throw new Error(`kubectl ${args.join(" ")}: ${stderr}`);
    return stdout;
  };
  const installed = await plane.kubectl(["apply", "-k", join(repositoryRoot(), "deploy/k8s/base")]);
  if (installed.code !== 0) throw new Error(`kubectl apply -k deploy/k8s/base: ${installed.stderr}`);
  await plane.kubectl(["apply", "-f", "-"], { input: JSON.stringify(surroundings(volume)) });
  await eventually(
    "the controller to be ready",
    async () => {
      const args = ["rollout", "status", "deploy/oarlock-controller", "-n", "oarlock-system", "--timeout=1s"];
      return (await plane.kubectl(args)).code === 0 ? true : undefined;
    },
    { timeoutMs: 60_000, detail: () => `\n${plane.output()}` },
  );
  return { plane, kubelet, nats, volume, kubectl, addNode };
}

/** Where the learner of a run serves, once it has a pod with an address. */
export function learnerAddress({ plane }: Cluster, run: string): Promise<string> {
  interface Pods {
    readonly items: readonly { readonly status: { readonly podIP?: string } }[];
  }
  const selector = `oarlock.dev/run=${run},oarlock.dev/role=learner`;
  return eventually("the learner's pod to have an address", async () => {
    const { items } = await plane.get<Pods>(["-n", NAMESPACE, "pods", "-l", selector]);
    const ip = items[0]?.status.podIP;
    return ip === undefined ? undefined : `${ip}:50051`;
  });
}

/** Has a learner wait between two steps until it is told otherwise: no machine is fast enough to be done before. */
export async function pauseLearner(address: string, tls?: TlsOptions): Promise<void> {
  using channel = openChannel(address, tls === undefined ? {} : { tls });
  await channel.client(LearnerService).pause({}, { timeoutMs: 10_000 });
}

/** Has a learner that waits go on. */
export async function resumeLearner(address: string): Promise<void> {
  using channel = openChannel(address);
  await channel.client(LearnerService).resume({}, { timeoutMs: 10_000 });
}

/** The image's programs as they lie in this repository. */
function programs(plane: ControlPlane, natsUrl: string): Readonly<Record<string, readonly string[]>> {
  const root = repositoryRoot();
  const service = (role: string): readonly string[] => [
    process.execPath,
    join(root, `services/${role}/bin/oarlock-${role}.cjs`),
  ];
  const planner = `${process.execPath} ${join(root, "apps/cli/bin/oarlock.js")}`;
  return {
    "oarlock-actor": service("actor"),
    "oarlock-reward": service("reward"),
    "oarlock-learner": service("learner"),
    oarlock: [process.execPath, join(root, "apps/cli/bin/oarlock.js")],
    "nats-server": [requireNatsServer().path],
    "oarlock-controller": [
      "env",
      `KUBECONFIG=${plane.kubeconfig(CONTROLLER)}`,
      `OARLOCK_PLANNER=${planner}`,
      `OARLOCK_NATS_URL=${natsUrl}`,
      process.execPath,
      join(root, "services/controller/bin/oarlock-controller.js"),
    ],
  };
}

function surroundings(volume: string): object {
  const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
  return {
    apiVersion: "v1",
    kind: "List",
    items: [
      { apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE, labels } },
      // One for each run of a test; a claim keeps its volume. Runs have folders of their own in it.
      ...["first", "second", "third", "fourth", "fifth"].map((name) => ({
        apiVersion: "v1",
        kind: "PersistentVolume",
        metadata: { name },
        spec: {
          capacity: { storage: "10Gi" },
          accessModes: ["ReadWriteOnce"],
          persistentVolumeReclaimPolicy: "Retain",
          hostPath: { path: volume },
        },
      })),
      {
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "RoleBinding",
        metadata: { name: "editor", namespace: NAMESPACE },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "oarlock-editor" },
        subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "editor" }],
      },
    ],
  };
}
