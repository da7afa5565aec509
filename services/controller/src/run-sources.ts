/** What a run reads inside of the cluster: bundles of its object store, ConfigMaps and volumes of its namespace. Pure. */
import {
  type ClusterSource,
  clusterSource,
  type RoleName,
  type SourceUse,
  sourcesOf,
  sourcesReadBy,
} from "@oarlock/runfile";
import type { TrainingRun } from "./api.ts";

function clusterSources({ spec }: TrainingRun): readonly ClusterSource[] {
  return sourcesOf(spec).flatMap(({ reference }) => clusterSource(reference) ?? []);
}

/** Names of the ConfigMaps that the run's pods mount, each once. */
export function configMapsOf(run: TrainingRun): readonly string[] {
  const names = clusterSources(run).flatMap((source) => (source.scheme === "configmap" ? [source.name] : []));
  return [...new Set(names)].toSorted();
}

/** Claims that pods of these roles read, each once. */
export function claimsOf({ spec }: TrainingRun, roles: readonly RoleName[]): readonly string[] {
  const names = sourcesReadBy(spec, roles)
    .map(({ reference }) => clusterSource(reference))
    .flatMap((source) => (source?.scheme === "pvc" ? [source.name] : []));
  return [...new Set(names)].toSorted();
}

/** Whether pods of these roles ask the hub. The learner may be told to while it runs, of a scorer's successor. */
export function asksHub({ spec }: TrainingRun, roles: readonly RoleName[]): boolean {
  return roles.includes("learner") || sourcesReadBy(spec, roles).some(isOfHub);
}

const isOfHub = ({ reference }: SourceUse): boolean => reference.startsWith("hf://");

/**
 * Whether the run's plan is resolved in a pod of its own: volumes are mounted only there; a hub is asked with the run's token and from
 * its place in the network; and models and data sets of any size have that pod's memory and time, not the controller's.
 */
export function isPlannedInPod(run: TrainingRun): boolean {
  const readsHub = sourcesOf(run.spec).some(isOfHub);
  return run.spec.hub !== undefined || readsHub || clusterSources(run).some(({ scheme }) => scheme === "pvc");
}

/** Whether something that the run reads lies in its object store. */
export function hasBundles(run: TrainingRun): boolean {
  return clusterSources(run).some(({ scheme }) => scheme === "bundle");
}
