/**
 * The decision: from what is observed of a run to what should be applied, removed and said. Pure, so that its cases are a
 * table; `controller.ts` carries it out. Where everything is as it should be, it decides to write nothing.
 */
import { covers, type EventNote, type KubeObject } from "@oarlock/kube";
import { canonicalJson, digestOf } from "@oarlock/runfile";
import type { Applied } from "@oarlock/kube";
import type { PoolStatus, RunStatus, TrainingRun } from "./api.ts";
import { type Child, child } from "./children/child.ts";
import { learnerJob, TEMPLATE_ANNOTATION } from "./children/learner.ts";
import { networkPolicy, serviceAccounts, services } from "./children/network.ts";
import { podTemplate } from "./children/pod.ts";
import { deployments, disruptionBudget, poolScale, rolePool } from "./children/pools.ts";
import type { ChildSettings } from "./children/settings.ts";
import { checkpointClaims } from "./children/storage.ts";
import { awaitsNats, natsReplicas } from "./nats/pace.ts";
import { natsServer, ownsNats } from "./nats/server.ts";
import { PLANNER, plannerJob } from "./planning/job.ts";
import { isPlannedInPod } from "./run-sources.ts";
import { eventsOf } from "./happenings.ts";
import { endOf, type Ending } from "./finalizer.ts";
import { APPLIED_ANNOTATION, childName, MANAGER, SCALE_MANAGER, WINDOW_ANNOTATION } from "./names.ts";
import { lossOf, lostJob } from "./lost-nodes.ts";
import { jobCondition, jobOf, livePods, type Observed, planOf, podsOf, poolOf } from "./observed.ts";
import { groupOf, queueOf } from "./queueing.ts";
import { POOL_ROLES, replicasToCopy, wantedReplicas, windowText } from "./roles.ts";
import { hasEnded, type Reason, type Situation, situationOf } from "./situation.ts";
import { DIGEST_ANNOTATION, poolStatus, runStatus } from "./status.ts";
import { noteChildren, podTlsOf, unusedCertificates, wantsTls } from "./tls/state.ts";

/** Image that the plan was made with: a newer controller does not change the engine of a run that is under way (D1b). */
const IMAGE_ANNOTATION = "oarlock.dev/image";

/** What the plan's ConfigMap keeps of the moment at which it was made. */
const PLAN_NOTES: ReadonlySet<string> = new Set([DIGEST_ANNOTATION, IMAGE_ANNOTATION, WINDOW_ANNOTATION]);

/** How often a running learner is asked. */
const ASK_MS = 2_000;
/** What is about to change: asked often. */
const ASKED: ReadonlySet<Reason> = new Set([
  "WaitingForFiles",
  "WaitingForSecret",
  "Training",
  "Paused",
  "Stalled",
  "Deleting",
]);
/** How often a run that waits for something is looked at without being told. */
const LOOK_MS = 30_000;

export interface Write {
  readonly object: Applied;
  readonly manager: string;
}

export interface Decision {
  readonly situation: Situation;
  /** Do this first and decide again. */
  readonly needs?: "plan" | "cleanup";
  /** The run's finalizers, where they should be others. */
  readonly finalizers?: readonly string[];
  readonly apply: readonly Write[];
  /** What goes once what it made has ended. */
  readonly remove: readonly KubeObject[];
  /** What goes at once: nobody will say that what it made has ended. */
  readonly abandon: readonly KubeObject[];
  /** Where they should be others. */
  readonly status?: RunStatus;
  readonly poolStatus: readonly { readonly name: string; readonly status: PoolStatus }[];
  readonly events: readonly EventNote[];
  /** The run has been over for as long as it wanted to stay. */
  readonly expired: boolean;
  readonly requeueAfterMs?: number;
}

/** Decides on one run. */
export function reconcile(observed: Observed): Decision {
  const situation = situationOf(observed);
  const ending = endOf(observed);
  const children = childrenOf(observed, situation);
  const writes = [...children.flatMap((wanted) => writeOf(observed, wanted)), ...scales(observed, children)];
  const lost = isOver(observed.run, situation) ? undefined : lostJob(observed);
  const outdated = lost === undefined ? outdatedJob(observed, children) : undefined;
  const held = heldBy(observed, lost ?? outdated);
  const status = runStatus(observed, situation);
  const before = observed.run.status ?? {};
  const changed = canonicalJson(status) !== canonicalJson(before);
  const pools = POOL_ROLES.flatMap((role) => {
    const now = poolStatus(observed, role);
    const pool = poolOf(observed, role);
    if (now === undefined || canonicalJson(now) === canonicalJson(pool?.status)) return [];
    return [{ name: childName(observed.run.metadata.name, role), status: now }];
  });
  const { waitMs, expired } = timeToLive(observed, situation);
  const requeueAfterMs = waitMs ?? pauseOf(situation);
  return {
    situation,
    ...needsOf(situation, ending),
    ...(ending.finalizers === undefined ? {} : { finalizers: ending.finalizers }),
    apply: writes.filter(({ object }) => !held.has(object.kind)),
    remove: [outdated, servedPlanner(observed, situation), ...unusedCertificates(observed)].filter(isStaying),
    abandon: lost === undefined ? [] : [lost],
    ...(changed ? { status } : {}),
    poolStatus: pools,
    events: [
      ...eventsOf(observed, status),
      ...(lost === undefined ? [] : [lossOf(observed)]),
      ...ending.events,
    ],
    expired,
    ...(requeueAfterMs === undefined ? {} : { requeueAfterMs }),
  };
}

function needsOf(situation: Situation, ending: Ending): Pick<Decision, "needs"> {
  if (ending.cleanup) return { needs: "cleanup" };
  return situation.reason === "Planning" ? { needs: "plan" } : {};
}

/** Nothing is made for a run that cannot start, or is being deleted and has made nothing yet. */
function childrenOf(observed: Observed, situation: Situation): readonly Child[] {
  const { run } = observed;
  const plan = planChild(observed);
  if (situation.reason === "NatsMissing") return [];
  if (plan === undefined) return planningChildren(observed, situation);
  const settings = settingsOf(observed, plan);
  if (settings === undefined) return [plan];
  const deleting = run.metadata.deletionTimestamp !== undefined;
  const over = hasEnded(situation);
  const stops = deleting || run.spec.suspend === true;
  const suspend = stops || awaitsNats(observed);
  // A learner that is told to end finishes its step: until it is gone, somebody has to generate and score it.
  const drains = !deleting && livePods(podsOf(observed, "learner")).length > 0;
  const template = {
    learner: podTemplate(run, "learner", settings),
    actor: podTemplate(run, "actor", settings),
    reward: podTemplate(run, "reward", settings),
  };
  const group = groupOf(observed, Object.values(template));
  const parts = POOL_ROLES.flatMap((role) => {
    const replicas = (suspend && !drains) || over ? 0 : wantedReplicas(observed, role);
    return [
      rolePool(run, role),
      disruptionBudget(run, role),
      ...deployments(run, role, { template: template[role], replicas, group }),
    ];
  });
  // A Job that is over is left as it is: its condition is the run's memory. One that is not, of a run that is, ends.
  const learner = { template: template.learner, group, suspend: suspend || over };
  const job = isJobDone(observed, over) ? [] : [learnerJob(run, learner)];
  return [
    ...serviceAccounts(run),
    plan,
    ...noteChildren(observed),
    ...checkpointClaims(run),
    networkPolicy(run, settings),
    ...services(run),
    ...natsServer(run, { settings, replicas: natsReplicas(observed, stops || over) }),
    ...parts,
    ...job,
  ];
}

function isJobDone(observed: Observed, over: boolean): boolean {
  if (!over) return false;
  const ended = jobCondition(observed, "Complete") ?? jobCondition(observed, "Failed");
  return ended !== undefined || jobOf(observed) === undefined;
}

/** What a plan needs that is resolved in a pod. */
function planningChildren({ run, settings }: Observed, situation: Situation): readonly Child[] {
  if (isOver(run, situation) || !isPlannedInPod(run)) return [];
  return [...serviceAccounts(run), networkPolicy(run, settings), plannerJob(run, settings)];
}

function isOver({ metadata }: TrainingRun, situation: Situation): boolean {
  return metadata.deletionTimestamp !== undefined || hasEnded(situation);
}

/** The planning Job, once it has served. */
function servedPlanner(observed: Observed, situation: Situation): KubeObject | undefined {
  const { run, children } = observed;
  const served = isOver(run, situation) || planOf(observed) !== undefined;
  return served ? children.get(`Job/${childName(run.metadata.name, PLANNER)}`) : undefined;
}

/** Whether there is one that nobody has deleted yet. */
function isStaying(object: KubeObject | undefined): object is KubeObject {
  return object !== undefined && object.metadata.deletionTimestamp === undefined;
}

/** The ConfigMap with the plan: made once, then as it was made. */
function planChild(observed: Observed): Child | undefined {
  const { run, plan, settings } = observed;
  const name = childName(run.metadata.name, "plan");
  const present = planOf(observed);
  const made = (data: object | undefined, annotations: Readonly<Record<string, string>>): Child => {
    const wanted = child(run, { kind: "ConfigMap", name }, { immutable: true, data });
    return { ...wanted, metadata: { ...wanted.metadata, annotations } };
  };
  if (present !== undefined) {
    const kept = Object.entries(present.metadata.annotations ?? {}).filter(([key]) => PLAN_NOTES.has(key));
    return made(present.data, Object.fromEntries(kept));
  }
  if (plan?.type !== "planned") return undefined;
  const { document, digest, window } = plan;
  return made(
    { "plan.json": document },
    {
      [DIGEST_ANNOTATION]: digest,
      [IMAGE_ANNOTATION]: settings.image,
      ...(window === undefined ? {} : { [WINDOW_ANNOTATION]: windowText(window) }),
    },
  );
}

/** What all pods of the run depend on. Undefined before its Secrets are there: pods in plain text are no start for a run with TLS. */
function settingsOf(observed: Observed, plan: Child): ChildSettings | undefined {
  const { run, settings, natsSecret } = observed;
  const tls = podTlsOf(observed);
  const lacks = (wantsTls(run) && tls === undefined) || (ownsNats(run) && natsSecret === undefined);
  if (lacks) return undefined;
  const image = plan.metadata.annotations?.[IMAGE_ANNOTATION] ?? settings.image;
  const secrets = { ...(tls && { tls }), ...(natsSecret !== undefined && { natsSecret }) };
  return { ...settings, image, ...secrets };
}

/** The apply of a child, where what is there does not say the same. */
function writeOf(observed: Observed, wanted: Child): readonly Write[] {
  const annotations = { ...wanted.metadata.annotations, [APPLIED_ANNOTATION]: digestOf(wanted) };
  const object = { ...wanted, metadata: { ...wanted.metadata, annotations } };
  const present = observed.children.get(`${wanted.kind}/${wanted.metadata.name}`);
  if (present?.metadata.deletionTimestamp !== undefined) return [];
  return present !== undefined && covers(present, object) ? [] : [{ object, manager: MANAGER }];
}

/** Copies of `roles[].replicas` to the pools. */
function scales(observed: Observed, children: readonly Child[]): readonly Write[] {
  const { run } = observed;
  return POOL_ROLES.flatMap((role) => {
    const name = childName(run.metadata.name, role);
    const pool = children.find(({ kind, metadata }) => kind === "RolePool" && metadata.name === name);
    const replicas = replicasToCopy(observed, role);
    if (pool === undefined || replicas === undefined) return [];
    return [{ object: poolScale(pool, replicas), manager: SCALE_MANAGER }];
  });
}

/** The Job that is there, where its template is not the wanted one: it must go before another can come. */
function outdatedJob(observed: Observed, children: readonly Child[]): KubeObject | undefined {
  const present = jobOf(observed);
  const wanted = children.find(({ kind }) => kind === "Job");
  if (present === undefined || wanted === undefined) return undefined;
  const template = (object: Pick<KubeObject, "metadata">): string | undefined =>
    object.metadata.annotations?.[TEMPLATE_ANNOTATION];
  return template(present) === wanted.metadata.annotations?.[TEMPLATE_ANNOTATION] ? undefined : present;
}

/**
 * What is not written while a Job is outdated. In a queue that is also the other pods of its group while the learner drains: they
 * all end before the next group comes (K1), and somebody has to generate and score its last step.
 */
function heldBy(observed: Observed, outdated: KubeObject | undefined): ReadonlySet<string> {
  if (outdated === undefined) return new Set();
  const drains = podsOf(observed, "learner").some(({ status }) => status?.phase === "Running");
  return new Set(drains && queueOf(observed.run) !== undefined ? ["Job", "Deployment"] : ["Job"]);
}

function timeToLive(
  { run, nowMs }: Observed,
  situation: Situation,
): { readonly waitMs?: number; readonly expired: boolean } {
  const { ttlSecondsAfterFinished } = run.spec;
  const since = run.status?.completionTime;
  if (!hasEnded(situation) || ttlSecondsAfterFinished === undefined || since === undefined)
    return { expired: false };
  const leftMs = Date.parse(since) + ttlSecondsAfterFinished * 1000 - nowMs;
  const deleting = run.metadata.deletionTimestamp !== undefined;
  return leftMs <= 0 ? { expired: !deleting } : { waitMs: leftMs, expired: false };
}

function pauseOf(situation: Situation): number | undefined {
  if (ASKED.has(situation.reason)) return ASK_MS;
  const still = hasEnded(situation) || situation.reason === "Suspended";
  return still ? undefined : LOOK_MS;
}
