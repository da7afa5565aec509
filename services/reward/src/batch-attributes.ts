/** What spans say of a batch of trajectories. Pure. */
import type { TrajectoryBatch } from "@oarlock/proto";
import { workPurpose } from "@oarlock/run";
import type { WorkPurpose } from "@oarlock/run";
import type { Attributes } from "@oarlock/runtime";
import { groupAttributes, policyAttributes } from "@oarlock/telemetry";

/** What a batch is for, in the word of identities. */
export function purposeOf({ trajectories: [first] }: Pick<TrajectoryBatch, "trajectories">): WorkPurpose {
  return (first && workPurpose(first.purpose)) ?? "rollout";
}

/** Whose group it is, and by which weights it was made. */
export function batchAttributes(batch: TrajectoryBatch): Attributes {
  const { group, trajectories, firstSample } = batch;
  const [first] = trajectories;
  const purpose = purposeOf(batch);
  const policy = first?.segments[0]?.policy;
  return {
    ...(group === undefined
      ? {}
      : groupAttributes({ ...group, step: purpose === "rollout" ? group.step + 1 : group.step, purpose })),
    ...(policy === undefined ? {} : policyAttributes({ number: policy.version, digest: policy.digest })),
    "rl.prompt.id": first?.prompt?.promptId,
    "rl.sample.first": firstSample,
    "rl.sample.count": trajectories.length,
  };
}
