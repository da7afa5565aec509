/**
 * The custom resource definitions as YAML: `deploy/k8s/crds/*.yaml` are these texts. Generated from the run file's schema,
 * so that there is one truth.
 */
import { stringify } from "yaml";
import { rolePoolVersion } from "./role-pool.ts";
import type { Structural } from "./structural.ts";
import { trainingRunVersion } from "./training-run.ts";

const GROUP = "oarlock.dev";
const NOTICE = "# Generated from packages/runfile by `npm run crd`. Do not edit.\n";

interface Names {
  readonly kind: string;
  readonly plural: string;
  readonly shortName: string;
}

/** File name and text of every definition. */
export function customResources(): ReadonlyMap<string, string> {
  const trainingRun = { kind: "TrainingRun", plural: "trainingruns", shortName: "trun" };
  const rolePool = { kind: "RolePool", plural: "rolepools", shortName: "rpool" };
  return new Map([
    ["trainingruns.yaml", definition(trainingRun, trainingRunVersion())],
    ["rolepools.yaml", definition(rolePool, rolePoolVersion)],
  ]);
}

function definition({ kind, plural, shortName }: Names, version: Structural): string {
  const names = {
    kind,
    listKind: `${kind}List`,
    plural,
    singular: kind.toLowerCase(),
    shortNames: [shortName],
    categories: ["oarlock"],
  };
  const document = {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${GROUP}` },
    spec: { group: GROUP, scope: "Namespaced", names, versions: [version] },
  };
  return (
    NOTICE +
    stringify(document, { aliasDuplicateObjects: false, lineWidth: 110, indent: 1, indentSeq: false })
  );
}
