/** Where the samples of a run are read: the pod of the learner that runs, and the file in it. Pure. */
import { OarlockError } from "@oarlock/errors";
import { conditionOf } from "@oarlock/kube";
import { generates } from "@oarlock/run";
import type { TrainingRun } from "./cluster.ts";
import type { RunPod } from "./waiting.ts";

/** Where the controller puts the run folder of a learner. */
const folderOf = (uid: string): string => `/var/lib/oarlock/runs/${uid}`;

/** Throws `SAMPLES_NONE` where nothing was generated yet. */
export function requireSamples({ metadata, spec, status }: TrainingRun): void {
  const { stages, evaluation } = spec;
  const at = stages.findIndex(({ name }) => name === status?.progress?.stage);
  if (stages.slice(0, at + 1).some(({ type }) => generates(type, evaluation))) return;
  const now = stages[at];
  const where = now === undefined ? "its first stage has not begun" : `stage ${now.name} is ${now.type}`;
  throw new OarlockError(
    "SAMPLES_NONE",
    `${metadata.name} has no samples yet: ${where}; steps of grpo and ppo make some, and evaluations`,
  );
}

/** Of several pods of a learner, of which some failed and stay to be looked at, the one that runs. Throws `LEARNER_ABSENT` where none does. */
export function samplesPlace(
  { metadata, status }: TrainingRun,
  pods: readonly RunPod[],
): { readonly pod: string; readonly file: string } {
  const { name, uid = "" } = metadata;
  const pod = pods.find((one) => one.status?.phase === "Running" && !isGoing(one.metadata));
  if (pod !== undefined) return { pod: pod.metadata.name, file: `${folderOf(uid)}/samples.jsonl` };
  const why = conditionOf(status?.conditions ?? [], "Ready")?.message ?? "nothing is known of it";
  throw new OarlockError(
    "LEARNER_ABSENT",
    `no learner of ${name} runs, in whose pod samples are read: ${why}`,
  );
}

function isGoing({ deletionTimestamp }: RunPod["metadata"]): boolean {
  return deletionTimestamp !== undefined;
}
