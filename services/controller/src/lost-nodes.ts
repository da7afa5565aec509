/**
 * Pods on nodes that do not answer. Kubernetes marks such a pod for deletion and keeps it for ever, since only its kubelet could say that
 * it ended; a Job that counts failures makes no other before. A second learner is safe beside a first that may still run (F1), so
 * the controller goes on without the pod. Its volumes stay where they are: that a node is off is for people to say. Pure.
 */
import type { EventNote } from "@oarlock/kube";
import type { Job, Pod, TrainingRun } from "./api.ts";
import { isReady, jobOf, livePods, type Observed, podsOf } from "./observed.ts";

/** After the end of a pod's grace period, whatever its node says: a kubelet that hangs, or one that may not be looked at. */
const OVERDUE_MS = 60_000;

/** Nodes worth a look: those of pods that were deleted, or that run and do not serve. */
export function nodesInDoubt(pods: readonly Pod[]): ReadonlySet<string> {
  const doubted = livePods(pods).filter(
    (pod) =>
      pod.metadata.deletionTimestamp !== undefined || (pod.status?.phase === "Running" && !isReady(pod)),
  );
  return new Set(doubted.flatMap(({ spec }) => spec?.nodeName ?? []));
}

/** The pods that count, and those that are lost. */
export function withoutLost(
  pods: readonly Pod[],
  { silentNodes, nowMs }: { readonly silentNodes: ReadonlySet<string>; readonly nowMs: number },
): Pick<Observed, "pods" | "lost" | "silentNodes"> {
  const isLost = ({ metadata, spec }: Pod): boolean => {
    if (metadata.deletionTimestamp === undefined || spec?.nodeName === undefined) return false;
    const overdue = nowMs - Date.parse(metadata.deletionTimestamp) > OVERDUE_MS;
    return overdue || silentNodes.has(spec.nodeName);
  };
  const lost = livePods(pods).filter(isLost);
  return { pods: pods.filter((pod) => !lost.includes(pod)), lost, silentNodes };
}

/** Whether the run folder is gone with the learner's node: a learner that begins anew is as old as the lost one, which may still run. */
export const losesFolder = ({ spec }: TrainingRun): boolean => spec.storage?.type === "emptyDir";

/** The learner's Job, where the pod that it waits for is lost: another Job makes another pod. */
export function lostJob(observed: Observed): Job | undefined {
  if (losesFolder(observed.run)) return undefined;
  const job = jobOf(observed);
  const waitsFor = ({ metadata }: Pod): boolean =>
    metadata.ownerReferences?.some(({ uid }) => uid === job?.metadata.uid) === true;
  return lostLearners(observed).some(waitsFor) ? job : undefined;
}

/** Said when the Job of a lost learner is given up. */
export function lossOf(observed: Observed): EventNote {
  const message = `${placesOf(observed).join(", ")}: another learner takes its place`;
  return { type: "Warning", reason: "LearnerLost", message };
}

/** What a run that waits should know of pods that are lost; empty where none are. */
export function lostWords(observed: Observed): string {
  const lost = lostLearners(observed);
  if (lost.length === 0) return "";
  const held = keepsUntilTold(observed.run)
    ? "; what it holds is free once that node is back, deleted, or (switched off) tainted node.kubernetes.io/out-of-service"
    : "";
  return `; ${placesOf(observed).join(", ")}${held}`;
}

function lostLearners(observed: Observed): readonly Pod[] {
  return podsOf({ ...observed, pods: observed.lost ?? [] }, "learner");
}

/** A pod that is overdue on a node that answers is no reason to give up the node. */
function placesOf(observed: Observed): readonly string[] {
  return lostLearners(observed).map(({ metadata: { name }, spec: { nodeName = "" } = {} }) =>
    observed.silentNodes?.has(nodeName) === true
      ? `${name} was lost with node ${nodeName}`
      : `${name} does not end on node ${nodeName}`,
  );
}

function keepsUntilTold({ spec }: TrainingRun): boolean {
  return spec.storage?.type !== "objectStore";
}
