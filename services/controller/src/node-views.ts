/**
 * Looks at the nodes of pods in doubt, each once in a few seconds. A controller that may not (as one that serves a single namespace) knows
 * of no silent node, and goes by the time that a pod is overdue.
 */
import { isSilent, isStatus, type KubeClient, type Node, NODES } from "@oarlock/kube";
import type { Clock } from "@oarlock/runtime";
import type { Pod } from "./api.ts";
import { nodesInDoubt } from "./lost-nodes.ts";

const FRESH_MS = 5_000;

export interface NodeViews {
  /** Those nodes of the pods that do not answer. */
  silent(pods: readonly Pod[], signal: AbortSignal): Promise<ReadonlySet<string>>;
}

/** Views that have seen nothing. */
export function createNodeViews(client: Pick<KubeClient, "get">, clock: Clock): NodeViews {
  const seen = new Map<string, { readonly silent: boolean; readonly atMs: number }>();
  const look = async (name: string, signal: AbortSignal): Promise<boolean> => {
    const before = seen.get(name);
    const nowMs = clock.nowMs();
    if (before !== undefined && nowMs - before.atMs < FRESH_MS) return before.silent;
    const silent = await isNodeSilent(name, signal);
    for (const [other, { atMs }] of seen) if (nowMs - atMs > FRESH_MS) seen.delete(other);
    seen.set(name, { silent, atMs: nowMs });
    return silent;
  };
  const isNodeSilent = async (name: string, signal: AbortSignal): Promise<boolean> => {
    try {
      return isSilent(await client.get<Node>(NODES, { name }, signal));
    } catch (reason) {
      if (isStatus(reason, 403)) return false;
      throw reason;
    }
  };
  return {
    async silent(pods, signal) {
      const silent = new Set<string>();
      for (const name of nodesInDoubt(pods)) if (await look(name, signal)) silent.add(name);
      return silent;
    },
  };
}
