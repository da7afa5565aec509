/** The cluster's nodes, as far as runs care: whether their kubelets report, and what there is for pods. */
import type { KubeObject, Resource } from "./object.ts";

export const NODES: Resource = { apiVersion: "v1", kind: "Node", plural: "nodes" };

export interface Node extends KubeObject {
  readonly status?: {
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly allocatable?: Readonly<Record<string, string>>;
  };
}

/** Whether its kubelet has stopped reporting, or the machine was taken out of the cluster. */
export function isSilent(node: Node | undefined): boolean {
  const ready = node?.status?.conditions?.find(({ type }) => type === "Ready");
  return node === undefined || ready?.status === "Unknown";
}
