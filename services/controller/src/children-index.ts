/** All children and pods of all runs, as the informers last saw them, by run. */
import type { KubeObject } from "@oarlock/kube";
import type { Pod } from "./api.ts";
import { RUN_LABEL } from "./names.ts";

export interface ChildrenIndex {
  /** Notes a change; returns the key of the run that it belongs to. */
  note(before: KubeObject | undefined, after: KubeObject | undefined): string | undefined;
  children(runKey: string): ReadonlyMap<string, KubeObject>;
  pods(runKey: string): readonly Pod[];
}

/** An index that has seen nothing. */
export function createChildrenIndex(): ChildrenIndex {
  const byRun = new Map<string, Map<string, KubeObject>>();
  const of = (runKey: string): ReadonlyMap<string, KubeObject> => byRun.get(runKey) ?? new Map();
  return {
    note(before, after) {
      const object = after ?? before;
      const run = object?.metadata.labels?.[RUN_LABEL];
      if (object === undefined || run === undefined) return undefined;
      const runKey = `${object.metadata.namespace ?? ""}/${run}`;
      const objects = byRun.get(runKey) ?? new Map<string, KubeObject>();
      byRun.set(runKey, objects);
      const key = `${object.kind}/${object.metadata.name}`;
      if (after === undefined) objects.delete(key);
      else objects.set(key, after);
      if (objects.size === 0) byRun.delete(runKey);
      return runKey;
    },
    children: of,
    // Keys name the kind, and pods have one shape.
    pods: (runKey) => [...of(runKey).values()].filter(({ kind }) => kind === "Pod") as Pod[],
  };
}
