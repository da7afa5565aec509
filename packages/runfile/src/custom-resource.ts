/**
 * The run file as a Kubernetes custom resource: `deploy/k8s/crds/trainingruns.yaml` is this text. The schema is the run
 * file's own, so a file that passes here passes there.
 */
import { stringify } from "yaml";
import { runFileJsonSchema } from "./json-schema.ts";

const GROUP = "oarlock.dev";

/** What Kubernetes' structural schemas do not know: they are closed anyway, since unknown fields are pruned or refused. */
const dropped = new Set(["$schema", "additionalProperties"]);

function structural(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(structural);
  if (typeof node !== "object" || node === null) return node;
  const kept = Object.entries(node).filter(([key]) => !dropped.has(key));
  return Object.fromEntries(kept.map(([key, value]) => [key, structural(value)]));
}

/** The CustomResourceDefinition of `TrainingRun`, as YAML. */
export function customResourceYaml(): string {
  const spec = runFileJsonSchema().properties?.["spec"];
  const definition = {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `trainingruns.${GROUP}` },
    spec: {
      group: GROUP,
      scope: "Namespaced",
      names: {
        kind: "TrainingRun",
        listKind: "TrainingRunList",
        plural: "trainingruns",
        singular: "trainingrun",
        shortNames: ["trun"],
        categories: ["oarlock"],
      },
      versions: [
        {
          name: "v1alpha1",
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: [{ name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" }],
          schema: {
            openAPIV3Schema: {
              type: "object",
              required: ["spec"],
              properties: {
                spec: structural(spec),
                status: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
              },
            },
          },
        },
      ],
    },
  };
  const notice = "# Generated from packages/runfile by `npm run crd`. Do not edit.\n";
  return notice + stringify(definition, { aliasDuplicateObjects: false, lineWidth: 110 });
}
