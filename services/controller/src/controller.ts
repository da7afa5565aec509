/**
 * The controller's effects: keeps views of runs and of what was made for them, asks `reconcile` what to do, and does it. Every
 * write is deterministic and safe beside that of another controller: names are fixed, applies name their manager, deletes
 * name the object's uid.
 */
import { setMaxListeners } from "node:events";
import {
  type Controller,
  createController,
  createInformer,
  createRecorder,
  type EventRecorder,
  type Informer,
  isStatus,
  type KubeClient,
  type KubeObject,
  refOf,
  type Resource,
} from "@oarlock/kube";
import type { Manager } from "@oarlock/runfile";
import type { Clock, Log } from "@oarlock/runtime";
import { CHILDREN, type ChildKind, PODS, TRAINING_RUNS, type TrainingRun } from "./api.ts";
import type { ChildSettings } from "./children/settings.ts";
import { type ChildrenIndex, createChildrenIndex } from "./children-index.ts";
import type { LearnerClient } from "./learner-client.ts";
import { withoutLost } from "./lost-nodes.ts";
import { MANAGED_SELECTOR, MANAGER } from "./names.ts";
import { createNodeViews, type NodeViews } from "./node-views.ts";
import { callerTls, isReady, type Observed, podsOf } from "./observed.ts";
import { type Look, NO_PACE, notePace, type Pace } from "./pace.ts";
import type { Planner } from "./planner.ts";
import { type Decision, reconcile, type Write } from "./reconcile.ts";
import { wantedReplicas } from "./roles.ts";
import { askDevice, createDeviceViews } from "./device-views.ts";
import type { NatsCredentials } from "./nats/credentials.ts";
import type { Identities } from "./tls/identities.ts";
import { createWishes } from "./wishes.ts";

/** Deletes a run's streams and buckets from its message server. */
export type Cleaner = (run: TrainingRun, signal: AbortSignal) => Promise<void>;

export interface RunControllerParts {
  readonly client: KubeClient;
  readonly settings: ChildSettings;
  readonly planner: Planner;
  readonly learners: LearnerClient;
  readonly identities: Identities;
  readonly credentials: NatsCredentials;
  /** Undefined: runs get no finalizer. */
  readonly cleaner?: Cleaner;
  /** Default: all namespaces. */
  readonly namespace?: string;
  readonly clock: Clock;
  readonly log: Log;
}

export interface RunController {
  readonly controller: Controller;
  /** Whether all views have been read once. */
  synced(): boolean;
  run(signal: AbortSignal): Promise<void>;
}

/** A controller that has seen nothing. */
export function createRunController(parts: RunControllerParts): RunController {
  const { client, log, clock, namespace } = parts;
  const index = createChildrenIndex();
  const scope = { client, clock, log, ...(namespace === undefined ? {} : { namespace }) };
  const runs = createInformer<TrainingRun>({
    ...scope,
    resource: TRAINING_RUNS,
    onChange: ({ before, after }) => {
      const object = after ?? before;
      if (object !== undefined) controller.enqueue(`${object.metadata.namespace}/${object.metadata.name}`);
    },
  });
  const children = [...Object.values(CHILDREN), PODS].map((resource: Resource) =>
    createInformer<KubeObject>({
      ...scope,
      resource,
      labelSelector: MANAGED_SELECTOR,
      onChange: ({ before, after }) => {
        const key = index.note(before, after);
        if (key !== undefined) controller.enqueue(key);
      },
    }),
  );
  const recorder = createRecorder({ client, component: MANAGER, clock, log });
  const again = (key: string): void => controller.enqueue(key);
  const nodes = createNodeViews(client, clock);
  const worker = createWorker({ ...parts, runs, index, nodes, recorder, again });
  const controller: Controller = createController({
    name: "trainingrun",
    reconcile: worker,
    clock,
    log,
  });
  const informers = [runs, ...children];
  const synced = (): boolean => informers.every((informer) => informer.synced);
  return {
    controller,
    synced,
    async run(signal) {
      // Every view and every worker listens to it.
      setMaxListeners(LISTENERS, signal);
      const watching = informers.map((informer) => informer.run(signal));
      // A view that is not whole would show children as missing.
      while (!synced() && !signal.aborted)
        await new Promise((resolve) => clock.after(SYNC_POLL_MS, () => resolve(true)));
      await controller.run(signal);
      await Promise.all(watching);
    },
  };
}

const OURS: Manager = "oarlock.dev/controller";
const SYNC_POLL_MS = 50;
const LISTENERS = 100;

interface WorkerParts extends RunControllerParts {
  readonly runs: Informer<TrainingRun>;
  readonly index: ChildrenIndex;
  readonly nodes: NodeViews;
  readonly recorder: EventRecorder;
  /** Has a run looked at again. */
  readonly again: (key: string) => void;
}

function createWorker(
  parts: WorkerParts,
): (key: string, signal: AbortSignal) => Promise<{ requeueAfterMs?: number }> {
  // Lost with the process: the next one measures anew.
  const paces = new Map<string, Pace>();
  const uids = new Map<string, string>();
  const wishes = createWishes(parts.learners, parts.again);
  const devices = createDeviceViews(askDevice, parts.again);
  return async (key, signal) => {
    const run = parts.runs.get(key);
    // Another cluster's to act on.
    if (run !== undefined && (run.spec.managedBy ?? OURS) !== OURS) return {};
    if (run === undefined) {
      paces.delete(key);
      wishes.forget(key);
      devices.forget(key);
      parts.learners.forget(key);
      parts.identities.forget(uids.get(key) ?? "");
      parts.credentials.forget(uids.get(key) ?? "");
      uids.delete(key);
      return {};
    }
    uids.set(key, run.metadata.uid ?? "");
    const observed = await observe(parts, { key, run, signal });
    const looked = { ...observed, devices: devices.look(key, observed) };
    const checkpointed = wishes.carry(key, looked);
    const seen = measured(paces, key, { ...looked, ...(checkpointed !== undefined && { checkpointed }) });
    const first = reconcile(seen);
    const decision =
      first.needs === undefined ? first : reconcile(await meet(parts, seen, first.needs, signal));
    const carried = await carryOutOrTell(parts, seen, decision, signal);
    return carried.requeueAfterMs === undefined ? {} : { requeueAfterMs: carried.requeueAfterMs };
  };
}

async function observe(
  { index, settings, learners, identities, credentials, nodes, cleaner, clock }: WorkerParts,
  { key, run, signal }: { readonly key: string; readonly run: TrainingRun; readonly signal: AbortSignal },
): Promise<Observed> {
  const pods = index.pods(key);
  const nowMs = clock.nowMs();
  const bare: Observed = {
    run,
    children: ownChildren(index.children(key), run),
    ...withoutLost(pods, { silentNodes: await nodes.silent(pods, signal), nowMs }),
    settings,
    cleans: cleaner !== undefined,
    nowMs,
  };
  const tls = await identities.of(bare, signal);
  const natsSecret = await credentials.of(bare, signal);
  const observed = {
    ...bare,
    ...(tls === undefined ? {} : { tls }),
    ...(natsSecret === undefined ? {} : { natsSecret }),
  };
  const report = await learners.ask(key, podsOf(observed, "learner"), callerTls(observed, "learner"));
  return report === undefined ? observed : { ...observed, report };
}

/** Adds what the run's steps say of its actors. */
function measured(paces: Map<string, Pace>, key: string, seen: Observed): Observed {
  const before = paces.get(key) ?? NO_PACE;
  // A learner that did not answer once breaks no window.
  const pace = seen.report === undefined ? before : notePace(before, lookOf(seen));
  paces.set(key, pace);
  return pace.demand === undefined ? seen : { ...seen, demand: pace.demand };
}

function lookOf(seen: Observed): Look {
  const { report, nowMs } = seen;
  const { metrics = {}, stage = 0, step = 0, unansweredGroups = 0 } = report ?? {};
  return {
    nowMs,
    step: `${stage}/${step}`,
    waitSeconds: metrics["timing_s/gen"],
    stepSeconds: metrics["timing_s/step"],
    unanswered: unansweredGroups,
    actors: podsOf(seen, "actor").filter(isReady).length,
    wanted: wantedReplicas(seen, "actor"),
  };
}

/** Children of another run of the same name that was deleted are not this one's: they go by themselves. */
function ownChildren(
  children: ReadonlyMap<string, KubeObject>,
  run: TrainingRun,
): ReadonlyMap<string, KubeObject> {
  const own = [...children].filter(([, { metadata }]) =>
    metadata.ownerReferences?.some(({ uid }) => uid === run.metadata.uid),
  );
  return new Map(own);
}

/** Does what a decision needs first. */
async function meet(
  { planner, cleaner }: WorkerParts,
  seen: Observed,
  needs: NonNullable<Decision["needs"]>,
  signal: AbortSignal,
): Promise<Observed> {
  if (needs === "plan") return { ...seen, plan: await planner(seen, signal) };
  try {
    await cleaner?.(seen.run, signal);
    return { ...seen, cleanup: { done: true, message: "" } };
  } catch (reason) {
    const message = reason instanceof Error ? reason.message : String(reason);
    return { ...seen, cleanup: { done: false, message } };
  }
}

/**
 * Carries a decision out. A child that the API server will never take (422, or a field that it does not know) is no failure
 * of the controller: the run says so, and is looked at again after a while, not at once.
 */
async function carryOutOrTell(
  parts: WorkerParts,
  seen: Observed,
  decision: Decision,
  signal: AbortSignal,
): Promise<Decision> {
  try {
    await carryOut(parts, seen.run, decision, signal);
    return decision;
  } catch (reason) {
    if (!isRefusedChild(reason)) throw reason;
    const told = reconcile({ ...seen, refusal: reason.message });
    await writeStatuses(parts.client, seen.run, told, signal);
    for (const event of told.events) await parts.recorder.record(seen.run, event);
    return told;
  }
}

/** Server-side apply calls a field that no schema has a failure of its own (500). */
function isRefusedChild(reason: unknown): reason is Error {
  if (!(reason instanceof Error)) return false;
  return (
    isStatus(reason, 422) ||
    (isStatus(reason, 500) && reason.message.includes("field not declared in schema"))
  );
}

async function carryOut(
  parts: WorkerParts,
  run: TrainingRun,
  decision: Decision,
  signal: AbortSignal,
): Promise<void> {
  const { client, recorder } = parts;
  const ref = refOf(`${run.metadata.namespace}/${run.metadata.name}`);
  const { deletionTimestamp, resourceVersion } = run.metadata;
  const { finalizers } = decision;
  if (finalizers !== undefined && deletionTimestamp === undefined) {
    // Before anything is made that it must clean up; the change brings the run back here.
    await client.merge(TRAINING_RUNS, ref, { metadata: { finalizers, resourceVersion } }, { signal });
    return;
  }
  for (const object of decision.remove) await remove(client, object, { propagation: "Foreground", signal });
  for (const object of decision.abandon) await remove(client, object, { propagation: "Background", signal });
  for (const write of decision.apply) await applyChild(parts, run, write, signal);
  await writeStatuses(client, run, decision, signal);
  for (const event of decision.events) await recorder.record(run, event);
  if (finalizers !== undefined)
    await client.merge(TRAINING_RUNS, ref, { metadata: { finalizers } }, { signal });
  if (decision.expired) await client.remove(TRAINING_RUNS, ref, { uid: run.metadata.uid ?? "", signal });
}

async function remove(
  client: KubeClient,
  object: KubeObject,
  options: { readonly propagation: "Foreground" | "Background"; readonly signal: AbortSignal },
): Promise<void> {
  const { uid = "" } = object.metadata;
  const resource = CHILDREN[object.kind as ChildKind];
  const ref = refOf(`${object.metadata.namespace}/${object.metadata.name}`);
  await client.remove(resource, ref, { uid, ...options });
}

async function applyChild(
  { client, recorder }: WorkerParts,
  run: TrainingRun,
  { object, manager }: Write,
  signal: AbortSignal,
): Promise<void> {
  try {
    await client.apply(CHILDREN[object.kind as ChildKind], object, { fieldManager: manager, signal });
  } catch (reason) {
    if (isStatus(reason, 400, 403) && reason instanceof Error)
      await recorder.record(run, {
        type: "Warning",
        reason: `FailedToApply${object.kind}`,
        message: reason.message,
      });
    throw reason;
  }
}

async function writeStatuses(
  client: KubeClient,
  run: TrainingRun,
  { status, poolStatus }: Decision,
  signal: AbortSignal,
): Promise<void> {
  const options = { fieldManager: `${MANAGER}-status`, subresource: "status", signal } as const;
  const { namespace = "default", name } = run.metadata;
  for (const pool of poolStatus) {
    const { apiVersion, kind } = CHILDREN.RolePool;
    const object = { apiVersion, kind, metadata: { name: pool.name, namespace }, status: pool.status };
    await client.apply(CHILDREN.RolePool, object, options);
  }
  if (status === undefined) return;
  const { apiVersion, kind } = TRAINING_RUNS;
  await client.apply(
    TRAINING_RUNS,
    { apiVersion, kind, metadata: { name, namespace }, status } as Write["object"],
    options,
  );
}
