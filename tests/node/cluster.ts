/**
 * A cluster of one real node as `overlays/dev` makes it, of images that were built here: controller, NATS, cluster DNS, volumes,
 * and a namespace of the restricted level.
 */
import { chownSync, existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { repositoryRoot } from "@oarlock/testkit";
import { dnsObjects } from "./dns.ts";
import { IMAGE, NEXT_IMAGE, openImageStore } from "./images.ts";
import { type Machine, startMachine } from "./machine.ts";
import type { NodeNeeds } from "./needs.ts";

export const NAMESPACE = "team";
const SYSTEM = "oarlock-system";
/** User of the images. */
const USER = 10_001;
/** For the cluster's message server, and for two runs of which one has its own. Whoever asks first gets the first. */
const VOLUMES = ["volume-0", "volume-1", "volume-2", "volume-3"];
/** Claim in the namespace of runs, of a volume that is nobody else's: files that runs read. */
export const GIVEN_CLAIM = "given";

export interface NodeCluster extends AsyncDisposable {
  readonly machine: Machine;
  /** Folder on the node with the checkpoints of a run. */
  checkpoints(uid: string): string;
  /** Folder on the node behind `GIVEN_CLAIM`. */
  readonly given: string;
  /** Runs kubectl in the namespace of runs, and fails where it fails. */
  kubectl(...args: readonly string[]): Promise<string>;
}

/** Builds the images, starts the node in `folder` and installs Oarlock. */
export async function startNodeCluster(needs: NodeNeeds, folder: string): Promise<NodeCluster> {
  const images = join(folder, "images");
  const volume = (name: string): string => join(folder, "volumes", name);
  for (const path of [images, ...[...VOLUMES, GIVEN_CLAIM].map(volume)]) mkdirSync(path, { recursive: true });
  for (const name of VOLUMES) chownSync(volume(name), USER, USER);
  const store = openImageStore();
  const built = store.build("cli");
  store.save(built, IMAGE, join(images, "oarlock.tar"));
  store.saveOthers(needs, images);
  const machine = await startMachine(needs, folder);
  const kubectl = async (...args: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await machine.plane.kubectl(args);
    if (code !== 0) throw new Error(`kubectl ${args.join(" ")}: ${stderr}`);
    return stdout;
  };
  const cluster: NodeCluster = {
    machine,
    checkpoints(uid) {
      const folders = VOLUMES.map((name) => join(volume(name), "runs", uid)).filter((path) =>
        existsSync(path),
      );
      if (folders.length !== 1) throw new Error(`${folders.length} volumes hold run ${uid}`);
      return folders[0] ?? "";
    },
    given: volume(GIVEN_CLAIM),
    kubectl: (...args) => kubectl("-n", NAMESPACE, ...args),
    async [Symbol.asyncDispose]() {
      await machine[Symbol.asyncDispose]();
    },
  };
  try {
    await machine.run("ctr", "--namespace", "k8s.io", "images", "tag", IMAGE, NEXT_IMAGE);
    const { code, stderr } = await machine.plane.kubectl(["apply", "-f", "-"], {
      input: JSON.stringify(surroundings(volume)),
    });
    if (code !== 0) throw new Error(stderr);
    await kubectl("apply", "-k", join(repositoryRoot(), "deploy/k8s/overlays/dev"));
    await kubectl("-n", SYSTEM, "rollout", "status", "sts/nats", "--timeout=90s");
    await kubectl("-n", SYSTEM, "rollout", "status", "deploy/oarlock-controller", "--timeout=90s");
  } catch (reason) {
    const { stdout } = await machine.plane.kubectl(["describe", "pods", "--all-namespaces"]);
    const said = machine.plane.output();
    await machine[Symbol.asyncDispose]();
    throw new Error(`the cluster did not start:\n${stdout.slice(-6_000)}\n${said}`, { cause: reason });
  }
  return cluster;
}

function surroundings(volume: (name: string) => string): object {
  const persistentVolume = (name: string, more: object): object => ({
    apiVersion: "v1",
    kind: "PersistentVolume",
    metadata: { name },
    spec: {
      capacity: { storage: "10Gi" },
      accessModes: ["ReadWriteOnce"],
      persistentVolumeReclaimPolicy: "Retain",
      hostPath: { path: volume(name) },
      ...more,
    },
  });
  // A class of its own, so that no run's claim takes it.
  const given = {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { name: GIVEN_CLAIM, namespace: NAMESPACE },
    spec: {
      storageClassName: GIVEN_CLAIM,
      accessModes: ["ReadWriteOnce"],
      resources: { requests: { storage: "1Gi" } },
    },
  };
  const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
  const items = [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE, labels } },
    ...dnsObjects(),
    ...VOLUMES.map((name) => persistentVolume(name, {})),
    persistentVolume(GIVEN_CLAIM, { storageClassName: GIVEN_CLAIM }),
    given,
  ];
  return { apiVersion: "v1", kind: "List", items };
}
