/** What a run reads inside of the cluster: bundles of its object store, and ConfigMaps of its namespace. Pure. */
import { type ClusterSource, clusterSource, sourcesOf } from "@oarlock/runfile";
import type { TrainingRun } from "./api.ts";

function clusterSources({ spec }: TrainingRun): readonly ClusterSource[] {
  return sourcesOf(spec).flatMap(({ reference }) => clusterSource(reference) ?? []);
}

/** Names of the ConfigMaps that the run's pods mount, each once. */
export function configMapsOf(run: TrainingRun): readonly string[] {
  const names = clusterSources(run).flatMap((source) => (source.scheme === "configmap" ? [source.name] : []));
  return [...new Set(names)].toSorted();
}

/** Whether something that the run reads lies in its object store. */
export function hasBundles(run: TrainingRun): boolean {
  return clusterSources(run).some(({ scheme }) => scheme === "bundle");
}
