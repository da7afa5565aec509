/** Where the learner keeps checkpoints: a claim of the run's own, one that exists, or, if asked for, a folder that may vanish. */
import type { TrainingRun } from "../api.ts";
import { childName } from "../names.ts";
import { type Child, child } from "./child.ts";
import { DEFAULT_STORAGE } from "./settings.ts";

export const CHECKPOINT_MOUNT = "/var/lib/oarlock";

/** The volume of the learner's pod. */
export function checkpointVolume(run: TrainingRun): Readonly<Record<string, unknown>> {
  const { storage } = run.spec;
  if (storage?.type === "emptyDir") return { name: "checkpoints", emptyDir: {} };
  const claimName = storage?.claim?.name ?? childName(run.metadata.name, "checkpoints");
  return { name: "checkpoints", persistentVolumeClaim: { claimName } };
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
