/**
 * What a run file reads that lies on a cluster: bundles are fetched beside the run file where the environment says whose they
 * are (NATS_URL and OARLOCK_UID, which the controller sets for its planner).
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { connectJetStreamBus, readNatsOptions } from "@oarlock/bus";
import { OarlockError } from "@oarlock/errors";
import { clusterSource, type FunctionUse, type ResolvedSpec, sourcePath } from "@oarlock/runfile";
import { createSettingsReader, processEnvironment } from "@oarlock/runtime";
import { checkFunction, rewardDigest } from "@oarlock/sandbox";
import { bundlesOf, fetchBundles } from "@oarlock/workload";

/** Fetches the bundles that a spec names, if it names any. */
export async function fetchSources(spec: ResolvedSpec, folder: string, signal?: AbortSignal): Promise<void> {
  const [first] = bundlesOf(spec);
  if (first === undefined) return;
  const environment = processEnvironment();
  const nats = readNatsOptions(environment);
  const uid = createSettingsReader(environment).text("OARLOCK_UID");
  if (nats === undefined || uid === undefined)
    throw new OarlockError(
      "BUNDLE_UNREACHABLE",
      `bundle://sha256-${first.slice(0, 12)}…: a bundle lies in the object store of one run on a cluster; ` +
        "accepted here: the run file as it was before `kubectl oarlock submit`",
    );
  await using bus = await connectJetStreamBus({ ...nats, name: "oarlock-plan", ...(signal && { signal }) });
  await fetchBundles({ spec, bus, uid, folder, ...(signal && { signal }) });
}

/**
 * ConfigMaps and volumes lie beside the run file where a cluster's planner mounts them, and nowhere else.
 *
 * @throws `CLUSTER_SOURCE` of one that is not mounted here.
 */
export function refuseUnmounted(reference: string, folder: string): void {
  const source = clusterSource(reference);
  if (source === undefined || source.scheme === "bundle") return;
  if (existsSync(join(folder, source.scheme, source.name))) return;
  const what = source.scheme === "pvc" ? "a volume" : "a ConfigMap";
  throw new OarlockError(
    "CLUSTER_SOURCE",
    `${JSON.stringify(reference)} is in ${what} of a cluster, which is not mounted here; ` +
      "accepted here: a path of this machine or hf://; on a cluster: kubectl apply",
  );
}

/** Whether a reward function can be loaded: its file is imported, and exports it. Throws `REWARD_BUNDLE`, `REWARD_LOAD`. */
export function loadFunction(
  { name, file, export: wanted }: Pick<FunctionUse, "name" | "file" | "export">,
  baseDir: string,
): Promise<void> {
  const bundled = clusterSource(file)?.scheme === "bundle";
  return checkFunction(name, { file: sourcePath(file), export: wanted, bundled }, baseDir);
}

/** Digest of a reward function's code: bundled now, or bundled when it was packed, which gives the same. */
export function functionDigest(reference: string, baseDir: string): Promise<string> {
  return rewardDigest(sourcePath(reference), baseDir, clusterSource(reference)?.scheme === "bundle");
}
