/**
 * Where the learner keeps checkpoints: a claim of the run's own, one that exists, a bucket on the message server, or, if asked
 * for, a folder that may vanish.
 */
import { subjects } from "@oarlock/bus";
import type { TrainingRun } from "../api.ts";
import { childName } from "../names.ts";
import { type Child, child } from "./child.ts";
import type { Fields } from "./pod-parts.ts";
import { DEFAULT_STORAGE } from "./settings.ts";

export const CHECKPOINT_MOUNT = "/var/lib/oarlock";

/** The volume of the learner's pod. */
export function checkpointVolume(run: TrainingRun): Readonly<Record<string, unknown>> {
  const { storage } = run.spec;
  // What is kept in a bucket is worked on in a folder of the pod's.
  if (storage?.type === "emptyDir" || storage?.type === "objectStore")
    return { name: "checkpoints", emptyDir: {} };
  return { name: "checkpoints", persistentVolumeClaim: { claimName: claimName(run) } };
}

function claimName({ metadata, spec }: TrainingRun): string {
  return spec.storage?.claim?.name ?? childName(metadata.name, "checkpoints");
}

/** Where the run folder lies, as a URI; undefined where it goes with its pod. */
export function checkpointPlace(run: TrainingRun): string | undefined {
  const { uid = "" } = run.metadata;
  const { type } = run.spec.storage ?? {};
  if (type === "emptyDir") return undefined;
  return type === "objectStore"
    ? `bucket://${subjects(uid).folderBucket}`
    : `pvc://${claimName(run)}/runs/${uid}`;
}

/** Settings of the learner's pod: the bucket's size, where there is one. */
export function storageEnvironment({ spec }: TrainingRun): readonly Fields[] {
  const size = spec.storage?.objectStore?.size;
  return size === undefined ? [] : [{ name: "OARLOCK_KEEP_BYTES", value: String(bytesOf(size)) }];
}

const UNITS: Readonly<Record<string, number>> = { Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40 };

/** Of a quantity as the schema takes it: a whole number and a unit. */
function bytesOf(size: string): number {
  return Number.parseInt(size, 10) * (UNITS[size.slice(-2)] ?? 1);
}

/** The claim of the run's own, where it has one. */
export function checkpointClaims(run: TrainingRun): readonly Child[] {
  const { storage } = run.spec;
  if (storage !== undefined && storage.type !== "new") return [];
  const name = childName(run.metadata.name, "checkpoints");
  const { size = DEFAULT_STORAGE, storageClassName } = storage?.new ?? {};
  const spec = {
    accessModes: ["ReadWriteOnce"],
    resources: { requests: { storage: size } },
    ...(storageClassName === undefined ? {} : { storageClassName }),
  };
  return [child(run, { kind: "PersistentVolumeClaim", name, role: "learner" }, { spec })];
}
