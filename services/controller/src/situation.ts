/**
 * What a run is doing, in one word and one sentence: the first case of a table that holds. Everything else (which children,
 * which conditions) follows from it.
 */
import { type Condition, conditionOf } from "@oarlock/kube";
import type { Pod } from "./api.ts";
import { deviceMissing, endedWithoutDevice } from "./devices.ts";
import { lostWords } from "./lost-nodes.ts";
import { awaitsNats } from "./nats/pace.ts";
import { isReady, jobCondition, livePods, type Observed, planOf, podsOf } from "./observed.ts";
import { queueOf } from "./queueing.ts";
import { counted, trainingWords } from "./stages.ts";

/** Reasons of the condition `Ready`. */
export type Reason =
  | "Deleting"
  | "Complete"
  | "Failed"
  | "PlanRefused"
  | "DeviceMissing"
  | "NatsMissing"
  | "Planning"
  | "WaitingForFiles"
  | "WaitingForSecret"
  | "WaitingForNats"
  | "ChildRefused"
  | "Suspending"
  | "Suspended"
  | "Stalled"
  | "WaitingForQuota"
  | "WaitingForNode"
  | "NodeLost"
  | "WaitingForPods"
  | "Starting"
  | "Paused"
  | "Training"
  | "Finishing";

export interface Situation {
  readonly reason: Reason;
  readonly message: string;
  /** Why a run failed, where it did. */
  readonly failure?: string;
}

type Case = (observed: Observed) => Situation | undefined;

/** Seconds without a step, unless the run says otherwise. */
const PROGRESS_DEADLINE_SECONDS = 1_800;

const when = (holds: boolean, reason: Reason, message: string): Situation | undefined =>
  holds ? { reason, message } : undefined;

const deleting: Case = ({ run, cleanup }) => {
  const held = cleanup?.done === false ? `; its streams stay so far: ${cleanup.message}` : "";
  return when(run.metadata.deletionTimestamp !== undefined, "Deleting", `frees what it holds${held}`);
};

const complete: Case = (observed) => {
  const job = jobCondition(observed, "Complete");
  return when(job !== undefined, "Complete", "all steps are trained");
};

/** The run's condition of this type, where it is true already. */
function heldBefore({ run }: Observed, type: string): Condition | undefined {
  const condition = conditionOf(run.status?.conditions ?? [], type);
  return condition?.status === "True" ? condition : undefined;
}

const planRefused: Case = (observed) => {
  const before = heldBefore(observed, "Failed");
  const said = before?.reason === "PlanRefused" ? before.message : undefined;
  const message = said ?? (observed.plan?.type === "refused" ? observed.plan.message : undefined);
  return message === undefined ? undefined : { reason: "PlanRefused", message, failure: "PlanRefused" };
};

const failed: Case = (observed) => {
  const job = jobCondition(observed, "Failed");
  if (job === undefined) return undefined;
  const jobs = job.message ?? "the learner's Job failed";
  const before = heldBefore(observed, "Failed");
  // The pod that said why may be collected at any time; the run remembers it.
  if (before !== undefined && before.message !== jobs)
    return { reason: "Failed", message: before.message, failure: before.reason };
  const message = lastWords(observed) ?? jobs;
  return { reason: "Failed", message, failure: failureOf(job.reason, message) };
};

/** A refusal has the reason that the learner gave: how its Job tells it from a crash is nobody's concern. */
function failureOf(reason = "JobFailed", message = ""): string {
  const code = /^\[([A-Z_]+)\]/.exec(message)?.[1];
  if (reason !== "PodFailurePolicy" || code === undefined) return reason;
  return code.toLowerCase().replaceAll(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** For good: what other pods do later changes nothing. */
const withoutDevice: Case = (observed) => {
  const message = endedWithoutDevice(observed.run) ?? deviceMissing(observed);
  return message === undefined ? undefined : { reason: "DeviceMissing", message, failure: "DeviceMissing" };
};

/** What the learner's last pod left behind when it failed. */
function lastWords(observed: Observed): string | undefined {
  const born = ({ metadata }: Pod): string => metadata.creationTimestamp ?? "";
  const pods = podsOf(observed, "learner").toSorted((a, b) => (born(a) < born(b) ? -1 : 1));
  const ended = pods.flatMap(({ status }) => status?.containerStatuses ?? []);
  const message = ended.map(({ state }) => state?.terminated?.message).findLast((text) => text !== undefined);
  return message?.trim().split("\n").at(-1);
}

const natsMissing: Case = ({ run, settings }) =>
  when(
    run.spec.nats === undefined && settings.natsUrl === undefined,
    "NatsMissing",
    "no message server: set spec.nats, or OARLOCK_NATS_URL of the controller",
  );

const planning: Case = (observed) =>
  when(
    planOf(observed) === undefined && observed.plan === undefined,
    "Planning",
    "resolves the plan: model, data and engine are looked at",
  );

const childRefused: Case = ({ refusal }) =>
  refusal === undefined ? undefined : { reason: "ChildRefused", message: refusal };

const waitingForFiles: Case = ({ plan }) =>
  plan?.type === "waiting" ? { reason: "WaitingForFiles", message: plan.message } : undefined;

const waitingForSecret: Case = ({ tls }) =>
  tls?.type === "waiting" ? { reason: "WaitingForSecret", message: tls.message } : undefined;

const waitingForNats: Case = (observed) =>
  when(awaitsNats(observed), "WaitingForNats", "the run's own message server starts");

const suspended: Case = (observed) => {
  if (observed.run.spec.suspend !== true) return undefined;
  const left = livePods(observed.pods).length;
  return left > 0
    ? { reason: "Suspending", message: `${counted(left, "pod")} drain${left === 1 ? "s" : ""}` }
    : { reason: "Suspended", message: "spec.suspend is true; nothing runs, the checkpoint is kept" };
};

const waiting: Case = (observed) => {
  const why = whyNoLearner(observed);
  if (why?.reason === "Starting" && allTrained(observed)) return FINISHING;
  return why && { ...why, message: `${why.message}${lostWords(observed)}` };
};

const FINISHING: Situation = {
  reason: "Finishing",
  message: "all steps are trained; the final model is written",
};

/** A learner that serves no longer has ended its work then, or does what is left of it. */
function allTrained({ run }: Observed): boolean {
  const { step = 0, totalSteps } = run.status?.progress ?? {};
  return step === totalSteps;
}

function whyNoLearner(observed: Observed): Situation | undefined {
  const [learner] = livePods(podsOf(observed, "learner"));
  if (learner === undefined) return { reason: "Starting", message: beingMade(observed) };
  if (isReady(learner)) return undefined;
  const node = learner.spec?.nodeName;
  if (node === undefined || observed.silentNodes?.has(node) !== true)
    return whyNotReady(learner, queueOf(observed.run));
  const message = `${learner.metadata.name}: node ${node} does not answer; Kubernetes gives the pod up after its tolerationSeconds`;
  return { reason: "NodeLost", message };
}

/** A Job makes no other pod at once, also where the one before was evicted; another Job, of a learner that is lost, does. */
function beingMade(observed: Observed): string {
  const made = "the learner's pod is being made";
  if (observed.run.status?.startTime === undefined || lostWords(observed) !== "") return made;
  return `${made}; after one that ended its Job pauses, 10 s at first, twice as long each time, 10 min at most`;
}

/** What keeps a pod from serving. */
export function whyNotReady({ metadata, status = {} }: Pod, queue = "none"): Situation {
  const { conditions = [], containerStatuses = [] } = status;
  const scheduled = conditions.find(({ type }) => type === "PodScheduled");
  if (scheduled?.status === "False") return whyNotPlaced(metadata.name, scheduled, queue);
  const held = containerStatuses.map(({ state }) => state?.waiting).find((waiting) => waiting !== undefined);
  if (held !== undefined) {
    const why = held.message ?? held.reason ?? "its container does not run";
    return { reason: "WaitingForPods", message: `${metadata.name}: ${why}` };
  }
  return { reason: "Starting", message: `${metadata.name} opens model, data and checkpoint` };
}

type PodCondition = NonNullable<NonNullable<Pod["status"]>["conditions"]>[number];

function whyNotPlaced(
  name: string,
  { reason, message = "no node fits" }: PodCondition,
  queue: string,
): Situation {
  if (reason !== "SchedulingGated") return { reason: "WaitingForNode", message: `${name}: ${message}` };
  return {
    reason: "WaitingForQuota",
    message: `${name} and its group are not admitted yet by queue ${queue}`,
  };
}

const stalled: Case = (observed) => {
  const { run, report, nowMs } = observed;
  const limitSeconds = run.spec.progressDeadlineSeconds ?? PROGRESS_DEADLINE_SECONDS;
  const since = run.status?.progress?.lastUpdatedTime;
  const idleSeconds = since === undefined ? 0 : (nowMs - Date.parse(since)) / 1000;
  const waits = report?.message === undefined || report.message === "" ? "" : `: ${report.message}`;
  if (report?.phase === "stalled")
    return { reason: "Stalled", message: `the learner gave up waiting${waits}` };
  return when(idleSeconds > limitSeconds, "Stalled", `no step for more than ${limitSeconds} seconds${waits}`);
};

const paused: Case = ({ report }) =>
  when(report?.phase === "paused", "Paused", "the learner was asked to pause");

const training: Case = (observed) => ({ reason: "Training", message: trainingWords(observed) });

/** In this order: what ends a run, what holds it, what it does. */
const CASES: readonly Case[] = [
  deleting,
  complete,
  withoutDevice,
  planRefused,
  failed,
  natsMissing,
  childRefused,
  planning,
  waitingForFiles,
  suspended,
  waitingForSecret,
  waitingForNats,
  waiting,
  stalled,
  paused,
  training,
];

/** What the run is doing. */
export function situationOf(observed: Observed): Situation {
  for (const holds of CASES) {
    const situation = holds(observed);
    if (situation !== undefined) return situation;
  }
  return { reason: "Starting", message: "nothing is known yet" };
}

const ENDINGS: ReadonlySet<Reason> = new Set(["Complete", "Failed", "PlanRefused", "DeviceMissing"]);

/** Whether the run has ended for good. */
export function hasEnded({ reason }: Situation): boolean {
  return ENDINGS.has(reason);
}
