/** A small controller runtime over the Kubernetes API: client, informers, queue, election, events, conditions. */
export type {
  Applied,
  ApplyOptions,
  DeleteOptions,
  KubeClient,
  ListOptions,
  ListResult,
  WatchEvent,
  WatchOptions,
  WriteOptions,
} from "./client.ts";
export { connect, contextNames } from "./connection.ts";
export type { Connection, ConnectOptions } from "./connection.ts";
export { createHttpClient } from "./http-client.ts";
export { isStatus, KubeError } from "./api-error.ts";
export { controllerOf, keyOf, ownerReference, refOf } from "./object.ts";
export type { KubeObject, ObjectMeta, ObjectRef, OwnerReference, Resource } from "./object.ts";
export { createInformer } from "./informer.ts";
export type { Change, Informer, InformerOptions } from "./informer.ts";
export { createController } from "./controller.ts";
export type { Controller, ControllerOptions, Reconciled } from "./controller.ts";
export { isSilent, NODES } from "./nodes.ts";
export type { Node } from "./nodes.ts";
export { CONTROLLER_INSTRUMENTS } from "./metrics.ts";
export type { ControllerMetrics, ReconcileResult, RequestMade } from "./metrics.ts";
export { acquireLead } from "./leader.ts";
export type { Lead, LeaderOptions } from "./leader.ts";
export { createRecorder } from "./events.ts";
export type { EventNote, EventRecorder, RecorderOptions } from "./events.ts";
export { conditionOf, isTrue, withTimes } from "./conditions.ts";
export type { Condition, Observation } from "./conditions.ts";
export { covers } from "./covers.ts";
