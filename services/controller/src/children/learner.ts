/**
 * The learner's Job: one pod at a time, replaced only once the old one is gone (F1). An eviction or a drain is no failure;
 * a plan that cannot be used is one for good.
 */
import { digestOf } from "@oarlock/runfile";
import type { TrainingRun } from "../api.ts";
import { DEVICE_MISSING_EXIT } from "../devices.ts";
import { childName } from "../names.ts";
import { type Group, queued } from "../queueing.ts";
import { type Child, child } from "./child.ts";
import type { Fields } from "./pod-parts.ts";

const BACKOFF_LIMIT = 6;
/** Exit codes of a service. */
const REFUSED = 3;
const INTERRUPTED = [130, 143] as const;

/** SHA-256 of the pod template: a Job's template cannot change, so another template is another Job. */
export const TEMPLATE_ANNOTATION = "oarlock.dev/template";

export interface LearnerOptions {
  readonly template: Fields;
  /** That its pod is admitted with, where the run waits for quota. */
  readonly group: Group | undefined;
  readonly suspend: boolean;
}

/** The Job of a run. */
export function learnerJob(run: TrainingRun, { suspend, group, ...options }: LearnerOptions): Child {
  const template = queued(options.template, run, group);
  const { backoffLimit = BACKOFF_LIMIT, activeDeadlineSeconds } = run.spec;
  const spec = {
    suspend,
    parallelism: 1,
    completions: 1,
    backoffLimit,
    ...(activeDeadlineSeconds === undefined ? {} : { activeDeadlineSeconds }),
    podReplacementPolicy: "Failed",
    podFailurePolicy: {
      rules: [
        { action: "Ignore", onPodConditions: [{ type: "DisruptionTarget", status: "True" }] },
        {
          action: "Ignore",
          onExitCodes: { containerName: "learner", operator: "In", values: [...INTERRUPTED] },
        },
        {
          action: "FailJob",
          onExitCodes: { containerName: "learner", operator: "In", values: [REFUSED, DEVICE_MISSING_EXIT] },
        },
      ],
    },
    template: { ...template, spec: { ...podSpec(template), restartPolicy: "Never" } },
  };
  const name = childName(run.metadata.name, "learner");
  const job = child(run, { kind: "Job", name, role: "learner" }, { spec });
  const annotations = { [TEMPLATE_ANNOTATION]: digestOf(spec.template) };
  return { ...job, metadata: { ...job.metadata, annotations } };
}

function podSpec(template: Fields): object {
  const { spec } = template;
  return typeof spec === "object" && spec !== null ? spec : {};
}
