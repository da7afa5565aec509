/** What every child of a run has in common: labels, and the run as its owner, so that it goes when the run goes. */
import { ownerReference } from "@oarlock/kube";
import type { RoleName } from "@oarlock/runfile";
import { CHILDREN, type ChildKind, type TrainingRun } from "../api.ts";
import { labelsOf } from "../names.ts";

/** An object that should be, as it is applied. */
export interface Child {
  readonly apiVersion: string;
  readonly kind: ChildKind;
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly ownerReferences: readonly object[];
  };
  readonly [field: string]: unknown;
}

export interface ChildOf {
  readonly kind: ChildKind;
  readonly name: string;
  readonly role?: RoleName;
}

/** A child of a run with these fields. */
export function child(run: TrainingRun, of: ChildOf, fields: Readonly<Record<string, unknown>>): Child {
  const { kind, name, role } = of;
  return {
    apiVersion: CHILDREN[kind].apiVersion,
    kind,
    metadata: {
      name,
      namespace: run.metadata.namespace ?? "default",
      labels: labelsOf(run.metadata.name, role),
      ownerReferences: [ownerReference(run)],
    },
    ...fields,
  };
}
