/** What a run is waiting for, in one sentence, from its status, its pods and the warnings around it. Pure. */
import { conditionOf, type KubeObject, type Resource } from "@oarlock/kube";
import type { TrainingRun } from "./cluster.ts";

export const PODS: Resource = { apiVersion: "v1", kind: "Pod", plural: "pods" };

export interface RunPod extends KubeObject {
  readonly status?: {
    readonly phase?: string;
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly message?: string;
    }[];
    readonly containerStatuses?: readonly {
      readonly state?: { readonly waiting?: { readonly reason?: string; readonly message?: string } };
    }[];
  };
}

export interface KubeEvent extends KubeObject {
  readonly type?: string;
  readonly reason?: string;
  readonly message?: string;
  readonly lastTimestamp?: string;
  readonly involvedObject?: { readonly kind?: string; readonly name?: string };
}

export interface Surroundings {
  readonly run: TrainingRun;
  readonly pods: readonly RunPod[];
  readonly events: readonly KubeEvent[];
  readonly nowMs: number;
}

export interface Waiting {
  readonly run: string;
  readonly reason: string;
  readonly sentence: string;
  /** What else holds it, beside the first thing, which the sentence names. */
  readonly more: readonly string[];
}

/** Warnings older than this are history. */
const RECENT_MS = 600_000;
/** Where the controller's own sentence says all: before pods are made, and after they are gone. */
const SAYS_ALL: ReadonlySet<string> = new Set([
  "NatsMissing",
  "Planning",
  "PlanRefused",
  "DeviceMissing",
  "WaitingForFiles",
  "WaitingForSecret",
  "WaitingForNats",
  "ChildRefused",
  "Suspended",
  "Complete",
  "Failed",
  "Deleting",
]);

/** The sentence. What the controller cannot see, as a quota that lets no pod be made, is added. */
export function waitingFor(around: Surroundings): Waiting {
  const { run } = around;
  const { name } = run.metadata;
  const ready = conditionOf(run.status?.conditions ?? [], "Ready");
  if (ready === undefined) {
    const sentence = `${name} has no status yet: the controller has not seen it; \`kubectl oarlock doctor\` says whether one runs`;
    return { run: name, reason: "Unseen", sentence, more: [] };
  }
  const { reason, message } = ready;
  const more = SAYS_ALL.has(reason)
    ? []
    : [...refusedPods(around), ...stuckPods(around), ...missingPods(run)];
  const [first, ...others] = new Set(more.filter((text) => !message.includes(text)));
  const sentence = `${name}: ${message}${first === undefined ? "" : `; ${first}`}`;
  return { run: name, reason, sentence, more: others };
}

/** Pods that were not even made: quota, admission. */
function refusedPods({ run, events, nowMs }: Surroundings): readonly string[] {
  return events
    .filter(
      ({ reason, lastTimestamp = "" }) =>
        reason === "FailedCreate" && nowMs - Date.parse(lastTimestamp) < RECENT_MS,
    )
    .filter(({ involvedObject }) => involvedObject?.name?.startsWith(`${run.metadata.name}-`) === true)
    .flatMap(({ message }) => (message === undefined ? [] : [message]));
}

/** Pods that exist and do not run. */
function stuckPods({ pods }: Surroundings): readonly string[] {
  return pods.flatMap(({ metadata, status = {} }) => {
    const scheduled = status.conditions?.find(
      ({ type, status: is }) => type === "PodScheduled" && is === "False",
    );
    const held = status.containerStatuses
      ?.map(({ state }) => state?.waiting)
      .find((waiting) => waiting !== undefined);
    const why = scheduled?.message ?? held?.message ?? held?.reason;
    return why === undefined ? [] : [`${metadata.name}: ${why}`];
  });
}

function missingPods(run: TrainingRun): readonly string[] {
  return (run.status?.roles ?? [])
    .filter(({ desired = 0, ready = 0 }) => ready < desired)
    .map(({ name, desired = 0, ready = 0 }) => `${ready} of ${desired} ${name} pods serve`);
}
