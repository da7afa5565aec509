/** The `RolePool` resource: the pods of one scalable role of a run, and the target of `kubectl scale`, HPA and KEDA. */
import { ROLE_NAMES } from "../vocabulary.ts";
import { block, conditions, count, devices, words } from "./blocks.ts";
import type { Structural } from "./structural.ts";

const spec: Structural = {
  ...block("How many pods, of what.", {
    runName: { ...words("The TrainingRun that the pods work for.", 40), minLength: 1 },
    role: {
      type: "string",
      enum: ROLE_NAMES.filter((name) => name !== "learner"),
      description: "Which role of it.",
    },
    replicas: {
      type: "integer",
      format: "int32",
      minimum: 0,
      maximum: 1024,
      default: 1,
      description: "Pods that should run while the run is not suspended. `kubectl scale` writes this.",
    },
    minReplicas: { type: "integer", minimum: 0, maximum: 1024, description: "Fewer are not applied." },
    maxReplicas: { type: "integer", minimum: 1, maximum: 1024, description: "More are not applied." },
  }),
  required: ["runName", "role"],
  "x-kubernetes-validations": [
    {
      rule: "self.runName == oldSelf.runName && self.role == oldSelf.role",
      message: "runName and role cannot change",
    },
  ],
};

const status = block("What is observed.", {
  observedGeneration: count("Generation of the spec that was acted upon."),
  replicas: count("Pods that exist."),
  readyReplicas: count("Pods that serve."),
  updatedReplicas: count("Pods of the current template."),
  selector: words("Label selector of the pods, for autoscalers.", 2048),
  usefulMaximum: count("More pods than these cannot help; condition Useful says why."),
  devices,
  conditions: conditions(
    "Ready: as many pods serve as should. Useful: more of them could help. Failed: pods found no device.",
  ),
});

/** Version `v1alpha1` of the resource. */
export const rolePoolVersion: Structural = {
  name: "v1alpha1",
  served: true,
  storage: true,
  subresources: {
    status: {},
    scale: {
      specReplicasPath: ".spec.replicas",
      statusReplicasPath: ".status.replicas",
      labelSelectorPath: ".status.selector",
    },
  },
  additionalPrinterColumns: [
    { name: "Run", type: "string", jsonPath: ".spec.runName" },
    { name: "Role", type: "string", jsonPath: ".spec.role" },
    { name: "Desired", type: "integer", jsonPath: ".spec.replicas" },
    { name: "Ready", type: "integer", jsonPath: ".status.readyReplicas" },
    { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
  ],
  schema: {
    openAPIV3Schema: {
      type: "object",
      description:
        "The pods of one role of a TrainingRun; its scale subresource is what kubectl scale, HPA and KEDA write.",
      required: ["spec"],
      properties: { spec, status },
    },
  },
};
