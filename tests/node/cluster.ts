/**
 * A cluster of one real node as `overlays/dev` makes it, of images that were built here: controller, NATS, volumes, and a
 * namespace of the restricted level. There is no cluster DNS: the message server has a fixed address.
 */
import { chownSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { repositoryRoot } from "@oarlock/testkit";
import { IMAGE, NEXT_IMAGE, openImageStore } from "./images.ts";
import { type Machine, startMachine } from "./machine.ts";
import type { NodeNeeds } from "./needs.ts";

export const NAMESPACE = "team";
const SYSTEM = "oarlock-system";
/** User of the images. */
const USER = 10_001;
const NATS_ADDRESS = "10.0.0.50";
const VOLUMES = ["checkpoints", "streams"];

export interface NodeCluster extends AsyncDisposable {
  readonly machine: Machine;
  /** Folder of a volume on the node. */
  volume(name: string): string;
  /** Runs kubectl in the namespace of runs, and fails where it fails. */
  kubectl(...args: readonly string[]): Promise<string>;
}

/** Builds the images, starts the node in `folder` and installs Oarlock. */
export async function startNodeCluster(needs: NodeNeeds, folder: string): Promise<NodeCluster> {
  const images = join(folder, "images");
  const volume = (name: string): string => join(folder, "volumes", name);
  for (const path of [images, ...VOLUMES.map(volume)]) mkdirSync(path, { recursive: true });
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
    volume,
    kubectl: (...args) => kubectl("-n", NAMESPACE, ...args),
    async [Symbol.asyncDispose]() {
      await machine[Symbol.asyncDispose]();
    },
  };
  try {
    await machine.run("ctr", "--namespace", "k8s.io", "images", "tag", IMAGE, NEXT_IMAGE);
    await kubectl("apply", "-k", join(repositoryRoot(), "deploy/k8s/overlays/dev"));
    await machine.plane.kubectl(["apply", "-f", "-"], { input: JSON.stringify(surroundings(volume)) });
    const address = `OARLOCK_NATS_URL=nats://${NATS_ADDRESS}:4222`;
    await kubectl("-n", SYSTEM, "set", "env", "deploy/oarlock-controller", address);
    await kubectl("-n", SYSTEM, "rollout", "status", "sts/nats", "--timeout=90s");
    await kubectl("-n", SYSTEM, "rollout", "status", "deploy/oarlock-controller", "--timeout=90s");
  } catch (reason) {
    const { stdout } = await machine.plane.kubectl(["describe", "pods", "-n", SYSTEM]);
    const said = machine.plane.output();
    await machine[Symbol.asyncDispose]();
    throw new Error(`the cluster did not start:\n${stdout.slice(-6_000)}\n${said}`, { cause: reason });
  }
  return cluster;
}

function surroundings(volume: (name: string) => string): object {
  const volumes = VOLUMES.map((name) => ({
    apiVersion: "v1",
    kind: "PersistentVolume",
    metadata: { name },
    spec: {
      capacity: { storage: "10Gi" },
      accessModes: ["ReadWriteOnce"],
      persistentVolumeReclaimPolicy: "Retain",
      hostPath: { path: volume(name) },
    },
  }));
  const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
  const nats = {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "nats-fixed", namespace: SYSTEM },
    spec: {
      clusterIP: NATS_ADDRESS,
      selector: { "app.kubernetes.io/component": "nats" },
      ports: [{ name: "client", port: 4222 }],
    },
  };
  const items = [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE, labels } },
    nats,
    ...volumes,
  ];
  return { apiVersion: "v1", kind: "List", items };
}
