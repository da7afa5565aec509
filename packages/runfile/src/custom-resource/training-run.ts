/**
 * The `TrainingRun` resource: its spec is the run file's schema, so that a file which passes here passes there, with three
 * kinds of rules that only an API server can hold: the object's name, what cannot change, and what a pod cannot read.
 */
import { runFileJsonSchema } from "../json-schema.ts";
import { NAME_PATTERN, type Rule } from "../schema/primitives.ts";
import { block, conditions, count, devices, listBy, moment, words } from "./blocks.ts";
import { type Structural, structural, withRules } from "./structural.ts";

/** Fields that decide what is trained: a run with others is another run. */
const FIXED_REQUIRED = ["model"] as const;
const FIXED_OPTIONAL = ["seed", "pipeline", "compute", "evaluation", "checkpoints", "storage"] as const;

const cannotChange = (field: string): string =>
  `${field} cannot change: it decides what is trained; make another TrainingRun`;

const immutable: readonly Rule[] = [
  ...FIXED_REQUIRED.map((field) => ({
    rule: `self.${field} == oldSelf.${field}`,
    message: cannotChange(field),
  })),
  {
    // A list told apart by names compares without its order, and stages run in order.
    rule: "self.stages == oldSelf.stages && self.stages.map(s, s.name) == oldSelf.stages.map(s, s.name)",
    message: cannotChange("stages"),
  },
  ...FIXED_OPTIONAL.map((field) => ({
    rule: `has(self.${field}) == has(oldSelf.${field}) && (!has(self.${field}) || self.${field} == oldSelf.${field})`,
    message: cannotChange(field),
  })),
  {
    rule: "has(self.managedBy) == has(oldSelf.managedBy) && (!has(self.managedBy) || self.managedBy == oldSelf.managedBy)",
    message: "managedBy cannot change: two would act on the run",
  },
];

/** `reads`: the reference in CEL; `has`: whether it is there at all. */
const inPods = (what: string, { has, reads }: { readonly has: string; readonly reads: string }): Rule[] => [
  {
    rule: `!${has} || ${reads}.startsWith('bundle://') || ${reads}.startsWith('configmap://') || ${reads}.startsWith('pvc://')`,
    message: `a pod cannot read ${what} of your machine; it reads bundle:// (kubectl oarlock submit packs your files), hf://, configmap:// and pvc://`,
  },
];
const noFile = inPods("a data file", { has: "has(self.file)", reads: "self.file.path" });
const noFunction = inPods("a reward function", {
  has: "has(self.__function__)",
  reads: "self.__function__.file",
});

const READ_BY_PODS = ["hf://", "pvc://", "bundle://"];
const startsWith = (reference: string, prefixes: readonly string[]): string =>
  prefixes.map((prefix) => `${reference}.startsWith('${prefix}')`).join(" || ");
const noFolder = (what: string): string =>
  `a pod cannot read a ${what} folder of your machine; it reads hf://, pvc:// and bundle:// (kubectl oarlock submit packs your files)`;
const SCORERS = ["stage/", ...READ_BY_PODS];
const noScorer: readonly Rule[] = [
  {
    rule: `(!has(self.model) || ${startsWith("self.model.from", SCORERS)}) && (!has(self.ensemble) || self.ensemble.from.all(f, ${startsWith("f", SCORERS)}))`,
    message: noFolder("reward model's"),
  },
];

/** What names files of the machine where `kubectl` runs. */
const readable: Readonly<Record<string, readonly Rule[]>> = {
  model: [
    {
      rule: `!has(self.from) || ${startsWith("self.from", READ_BY_PODS)}`,
      message: noFolder("model"),
    },
  ],
  "model.init.tokenizer": inPods("a tokenizer", { has: "has(self.file)", reads: "self.file.path" }),
  "stages[].sft.data": noFile,
  "stages[].grpo.data": noFile,
  "stages[].grpo.rewards[]": [...noFunction, ...noScorer],
  "stages[].reward-model.data": noFile,
  "stages[].ppo.data": noFile,
  "stages[].ppo.ptx.data": noFile,
  "stages[].ppo.rewards[]": [...noFunction, ...noScorer],
  "evaluation.data": noFile,
  "evaluation.rewards[]": [...noFunction, ...noScorer],
};

const status = block("What is observed of the run.", {
  observedGeneration: count("Generation of the spec that was acted upon."),
  startTime: moment("When the learner first ran."),
  completionTime: moment("When the run ended."),
  conditions: conditions(
    "Ready (its reason says in a word what the run does), Progressing, Stalled, Suspended, Complete, Failed.",
  ),
  progress: block("How far the run is.", {
    stage: words("Name of the stage that runs.", 40),
    step: count("Steps that are trained, over all stages."),
    totalSteps: count("Steps of the whole run."),
    percentage: count("Of the steps, rounded down."),
    estimatedRemainingSeconds: count("At the pace so far."),
    policyVersion: count("Newest published policy version."),
    lastUpdatedTime: moment("When the step last changed."),
  }),
  metrics: listBy(
    "name",
    block("One number.", { name: words("Its name.", 253), value: words("Its value, in decimal.", 64) }),
    "Numbers of the latest step, and what finished reward models know of held-out pairs.",
  ),
  roles: listBy(
    "name",
    block("One role.", {
      name: words("Which.", 40),
      desired: count("Pods that should run."),
      ready: count("Pods that serve."),
      updated: count("Pods of the current template."),
      restarts: count("Pods of the role that failed."),
      usefulMaximum: count("More pods than these cannot help."),
      devices,
      selector: words("Label selector of its pods."),
    }),
    "Pods by role.",
  ),
  checkpoint: block("The newest checkpoint: where a resume continues.", {
    step: count("Steps that it holds."),
    request: words("The last wish (annotation oarlock.dev/checkpoint) that was fulfilled.", 64),
    uri: words("Run folder: pvc://CLAIM/runs/UID, or bucket://NAME on the message server.", 2048),
    time: moment("When it was first seen."),
  }),
  planDigest: words("SHA-256 of the resolved plan: runs of one digest have the same bits.", 64),
  policyDigest: words("SHA-256 of the newest policy version's weights.", 64),
  traceID: words("Trace of the latest step, where traces are recorded.", 32),
});

const ready = (field: string): string => `.status.conditions[?(@.type=="Ready")].${field}`;
const metric = (name: string): string => `.status.metrics[?(@.name=="${name}")].value`;
const role = (name: string): string => `.status.roles[?(@.name=="${name}")].ready`;

const columns = [
  { name: "Ready", type: "string", jsonPath: ready("status") },
  { name: "Status", type: "string", jsonPath: ready("reason") },
  { name: "Stage", type: "string", jsonPath: ".status.progress.stage" },
  { name: "Step", type: "integer", jsonPath: ".status.progress.step" },
  { name: "Progress", type: "integer", description: "Percent", jsonPath: ".status.progress.percentage" },
  { name: "Reward", type: "string", jsonPath: metric("reward_mean") },
  { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
  { name: "KL", type: "string", priority: 1, jsonPath: metric("kl") },
  { name: "Policy", type: "integer", priority: 1, jsonPath: ".status.progress.policyVersion" },
  { name: "Actors", type: "integer", priority: 1, jsonPath: role("actor") },
  { name: "ETA", type: "integer", priority: 1, jsonPath: ".status.progress.estimatedRemainingSeconds" },
  { name: "Trace", type: "string", priority: 1, jsonPath: ".status.traceID" },
];

/** Version `v1alpha1` of the resource. */
export function trainingRunVersion(): Structural {
  const spec = structural(runFileJsonSchema().properties?.["spec"] ?? {});
  return {
    name: "v1alpha1",
    served: true,
    storage: true,
    subresources: { status: {} },
    additionalPrinterColumns: columns,
    schema: {
      openAPIV3Schema: {
        type: "object",
        description:
          "A training run: what to train, on what, how, and what it may use of the cluster. The same document runs with `oarlock run`.",
        required: ["spec"],
        properties: { spec: withRules(spec, { "": immutable, ...readable }), status },
        "x-kubernetes-validations": [
          {
            rule: `self.metadata.name.size() <= 40 && self.metadata.name.matches('${NAME_PATTERN.source}')`,
            message:
              "metadata.name: lower-case letters, digits and '-', starting with a letter, at most 40 characters",
          },
        ],
      },
    },
  };
}
