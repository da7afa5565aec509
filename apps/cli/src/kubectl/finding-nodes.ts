/** Do all nodes answer, and which pods of runs are on those that do not. */
import { isSilent, type KubeObject, type Node, NODES, type Resource } from "@oarlock/kube";
import type { Cluster } from "./cluster.ts";
import { type Finding, ok } from "./finding.ts";

const PODS: Resource = { apiVersion: "v1", kind: "Pod", plural: "pods" };

interface PlacedPod extends KubeObject {
  readonly spec?: { readonly nodeName?: string };
}

/** The findings. */
export async function nodes({ client, namespace }: Cluster): Promise<readonly Finding[]> {
  const { items } = await client.list<Node>(NODES);
  const silent = items.filter(isSilent);
  if (silent.length === 0) return [ok("nodes", `all ${items.length} nodes answer`)];
  const labelSelector = "app.kubernetes.io/part-of=oarlock";
  const { items: pods } = await client.list<PlacedPod>(PODS, { namespace, labelSelector });
  return silent.map(({ metadata: { name } }) => {
    const there = pods.filter(({ spec }) => spec?.nodeName === name).map(({ metadata }) => metadata.name);
    const held = there.length === 0 ? "" : `; on it: ${there.join(", ")}`;
    const fix = `once the machine is certainly off, kubectl taint node ${name} node.kubernetes.io/out-of-service=nodeshutdown:NoExecute frees its pods and volumes`;
    return { check: "nodes", state: "warning", message: `${name} does not answer${held}`, fix };
  });
}
