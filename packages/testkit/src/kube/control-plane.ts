/**
 * A real Kubernetes control plane for tests: etcd and kube-apiserver on loopback, and, where asked for, the controller
 * manager and the scheduler. No node: pods run where a test registers one (`process-kubelet.ts`).
 */
import { execFile } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findKube, type KubeAssets } from "./assets.ts";
import { inheritedEnvironment } from "../config.ts";
import { eventually, freePort, type ServerProcess, startProcess } from "./process.ts";

const LOOPBACK = "127.0.0.1";
/** Longer than any `kubectl wait --timeout` of a test: what is ended by this leaves no word of why. */
const KUBECTL_TIMEOUT_MS = 600_000;
/** Patience until an API server is ready. */
const READY = { timeoutMs: 60_000, everyMs: 300 } as const;
/** Go collects garbage later: memory, of which the tests have enough, for a fifth of a server's processor time at its start. */
const SERVER_GARBAGE = { GOGC: "400" };
/** A kubectl is over before there is any to speak of; one that watches for minutes does collect it. */
const KUBECTL_GARBAGE = { GOGC: "off", GOMEMLIMIT: "256MiB" };

/** A user of the cluster, known by a static token. */
export interface ClusterUser {
  readonly name: string;
  readonly groups?: readonly string[];
}

export interface ControlPlaneOptions {
  /** Also runs kube-controller-manager and kube-scheduler. Default false. */
  readonly controllers?: boolean;
  /** Seconds without a word from a node until it counts as lost. Default Kubernetes': 50. */
  readonly nodeGraceSeconds?: number;
  /** Users besides `admin`; each one's token is `<name>-token`. */
  readonly users?: readonly ClusterUser[];
  /** Where it runs; default: here, on loopback, without a real node. */
  readonly place?: ControlPlanePlace;
}

/** Network namespace of a real node, whose pods reach the API server. */
export interface ControlPlanePlace {
  /** Command that runs another one there. */
  readonly enter: readonly [string, ...string[]];
  /** IPv4 address of the node. */
  readonly address: string;
}

export interface KubectlResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface KubectlOptions {
  /** Standard input, for `-f -`. */
  readonly input?: string;
  /** Default `admin`. */
  readonly user?: string;
}

/** A control plane that runs. */
export interface ControlPlane extends AsyncDisposable {
  /** `https://127.0.0.1:<port>` */
  readonly url: string;
  /** PEM of the serving certificate, which is its own authority. */
  readonly certificate: string;
  /** PEM of its key: a test's kubelet may serve with it. */
  readonly key: string;
  /** Path of a kubeconfig for a user (default `admin`). */
  kubeconfig(user?: string): string;
  token(user?: string): string;
  /** Runs kubectl; a failure is a result, not an exception. */
  kubectl(args: readonly string[], options?: KubectlOptions): Promise<KubectlResult>;
  /** Runs kubectl and parses its JSON; throws with its message where it fails. */
  get<T>(args: readonly string[]): Promise<T>;
  /** The end of what each of its programs said, for messages. */
  output(): string;
  /** Ends the API server as a crash would. */
  killApiServer(): Promise<void>;
  startApiServer(): Promise<void>;
}

/** Starts a control plane; ready when it resolves. */
export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const { controllers = false, users = [], place, nodeGraceSeconds } = options;
  const assets = findKube(
    controllers
      ? ["etcd", "kube-apiserver", "kubectl", "kube-controller-manager", "kube-scheduler"]
      : ["etcd", "kube-apiserver", "kubectl"],
  );
  const folder = mkdtempSync(join(tmpdir(), "oarlock-kube-"));
  const [clientPort, peerPort, apiPort] = [await freePort(), await freePort(), await freePort()];
  const url = `https://${place?.address ?? LOOPBACK}:${apiPort}`;
  const command = (path: string, args: readonly string[]): readonly [string, readonly string[]] => {
    const [enter, ...rest] = place?.enter ?? [path];
    return [enter, place === undefined ? args : [...rest, path, ...args]];
  };
  writeCredentials(folder, users);
  const processes: ServerProcess[] = [];
  const start = (name: Parameters<KubeAssets["path"]>[0], args: readonly string[]): ServerProcess => {
    const process = startProcess(name, ...command(assets.path(name), args), SERVER_GARBAGE);
    processes.push(process);
    return process;
  };
  start("etcd", etcdFlags(folder, clientPort, peerPort));
  const apiServer = {
    process: start("kube-apiserver", apiServerFlags(folder, { etcdPort: clientPort, port: apiPort, place })),
  };
  // Once each: a program that reads one while it is written again finds it empty, and ends.
  const kubeconfigs = new Map<string, string>();
  const kubeconfig = (user = "admin"): string => {
    const path = kubeconfigs.get(user) ?? writeKubeconfig(folder, url, user);
    kubeconfigs.set(user, path);
    return path;
  };
  const kubectl = (args: readonly string[], { input, user }: KubectlOptions = {}): Promise<KubectlResult> =>
    runKubectl(command(assets.path("kubectl"), ["--kubeconfig", kubeconfig(user), ...args]), input);
  const asked = { stderr: "" };
  const ready = (): Promise<true> =>
    eventually(
      "the API server to be ready",
      async () => {
        const { code, stderr } = await kubectl(["get", "--raw", "/readyz"]);
        asked.stderr = stderr;
        return code === 0 ? true : undefined;
      },
      { ...READY, detail: () => `\n${asked.stderr}\n${apiServer.process.output().slice(-2_000)}` },
    );
  const stop = async (): Promise<void> => {
    for (const process of processes.toReversed()) await process.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  await ready().catch(async (reason: unknown) => {
    await stop();
    throw reason;
  });
  if (controllers) startControllers(start, kubeconfig(), { folder, nodeGraceSeconds });
  return {
    url,
    certificate: readFileSync(join(folder, "apiserver.crt"), "utf8"),
    key: readFileSync(join(folder, "apiserver.key"), "utf8"),
    kubeconfig,
    token: (user = "admin") => `${user}-token`,
    kubectl,
    async get<T>(args: readonly string[]) {
      const { code, stdout, stderr } = await kubectl(["get", ...args, "-o", "json"]);
      if (code !== 0) throw new Error(`kubectl get ${args.join(" ")}: ${stderr}`);
      return JSON.parse(stdout) as T;
    },
    output: () => processes.map((process) => `${process.name}: ${process.output().slice(-600)}`).join("\n"),
    killApiServer: () => apiServer.process.kill(),
    async startApiServer() {
      apiServer.process = start(
        "kube-apiserver",
        apiServerFlags(folder, { etcdPort: clientPort, port: apiPort, place }),
      );
      await ready();
    },
    [Symbol.asyncDispose]: stop,
  };
}

function writeCredentials(folder: string, users: readonly ClusterUser[]): void {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  writeFileSync(join(folder, "sa.key"), privateKey.export({ type: "pkcs8", format: "pem" }));
  writeFileSync(join(folder, "sa.pub"), publicKey.export({ type: "spki", format: "pem" }));
  const all: readonly ClusterUser[] = [{ name: "admin", groups: ["system:masters"] }, ...users];
  const lines = all.map(({ name, groups = [] }) => `${name}-token,${name},${name},"${groups.join(",")}"`);
  writeFileSync(join(folder, "tokens.csv"), `${lines.join("\n")}\n`);
}

function etcdFlags(folder: string, clientPort: number, peerPort: number): string[] {
  const client = `http://127.0.0.1:${clientPort}`;
  const peer = `http://127.0.0.1:${peerPort}`;
  return [
    `--data-dir=${folder}/etcd`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=default=${peer}`,
    "--unsafe-no-fsync",
    "--log-level=error",
  ];
}

interface ApiServerPlace {
  readonly etcdPort: number;
  readonly port: number;
  readonly place: ControlPlanePlace | undefined;
}

function apiServerFlags(folder: string, { etcdPort, port, place }: ApiServerPlace): string[] {
  const reachable = [`--bind-address=0.0.0.0`, `--advertise-address=${place?.address}`];
  return [
    ...(place === undefined ? [`--bind-address=${LOOPBACK}`] : reachable),
    `--etcd-servers=http://127.0.0.1:${etcdPort}`,
    `--secure-port=${port}`,
    // The server makes its own certificate there.
    `--cert-dir=${folder}`,
    `--service-account-key-file=${folder}/sa.pub`,
    `--service-account-signing-key-file=${folder}/sa.key`,
    "--service-account-issuer=https://kubernetes.default.svc",
    `--token-auth-file=${folder}/tokens.csv`,
    "--authorization-mode=RBAC",
    "--service-cluster-ip-range=10.0.0.0/16",
    "--allow-privileged=true",
    "--kubelet-preferred-address-types=InternalIP",
  ];
}

function startControllers(
  start: (name: "kube-controller-manager" | "kube-scheduler", args: readonly string[]) => void,
  kubeconfig: string,
  { folder, nodeGraceSeconds }: { readonly folder: string; readonly nodeGraceSeconds: number | undefined },
): void {
  const common = [`--kubeconfig=${kubeconfig}`, "--secure-port=0", "--leader-elect=false"];
  start("kube-controller-manager", [
    ...common,
    `--authentication-kubeconfig=${kubeconfig}`,
    `--authorization-kubeconfig=${kubeconfig}`,
    `--service-account-private-key-file=${folder}/sa.key`,
    // What pods trust the API server by.
    `--root-ca-file=${folder}/apiserver.crt`,
    "--use-service-account-credentials=false",
    "--horizontal-pod-autoscaler-sync-period=2s",
    ...(nodeGraceSeconds === undefined
      ? []
      : [`--node-monitor-grace-period=${nodeGraceSeconds}s`, "--node-monitor-period=1s"]),
  ]);
  start("kube-scheduler", common);
}

function writeKubeconfig(folder: string, server: string, user: string): string {
  const path = join(folder, `kubeconfig-${user.replaceAll(":", "-")}`);
  const config = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "test",
    clusters: [{ name: "test", cluster: { server, "certificate-authority": join(folder, "apiserver.crt") } }],
    users: [{ name: user, user: { token: `${user}-token` } }],
    contexts: [{ name: "test", context: { cluster: "test", user, namespace: "default" } }],
  };
  writeFileSync(path, JSON.stringify(config));
  return path;
}

function runKubectl(
  [program, args]: readonly [string, readonly string[]],
  input: string | undefined,
): Promise<KubectlResult> {
  return new Promise((done) => {
    const env = { ...inheritedEnvironment(), ...KUBECTL_GARBAGE };
    const options = { maxBuffer: 64 * 1024 * 1024, timeout: KUBECTL_TIMEOUT_MS, env };
    const child = execFile(program, args, options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : 1;
      done({ code, stdout, stderr });
    });
    // One that ends before it has read says why by its exit code.
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(input ?? "");
  });
}
