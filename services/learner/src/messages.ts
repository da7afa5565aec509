/** The learner's translation: work items into messages, scored messages into verdicts. Pure. */
import { OarlockError } from "@oarlock/errors";
import { FinishReason, RolloutPurpose, RolloutWorkSchema, create } from "@oarlock/proto";
import type { RolloutWork, Trajectory, TrajectoryBatch } from "@oarlock/proto";
import type { SampleVerdict, ScoredHead, WorkItem, WorkPurpose } from "@oarlock/run";
import type { SamplingPlan } from "./plan.ts";
import type { PromptRow } from "./ports.ts";

const PURPOSES: { readonly [Purpose in WorkPurpose]: RolloutPurpose } = {
  rollout: RolloutPurpose.ROLLOUT,
  evaluation: RolloutPurpose.EVALUATION,
};

/** What a work message says besides the item. */
export interface WorkContext {
  readonly incarnation: number;
  readonly seed: number;
  readonly prompt: PromptRow;
  readonly sampling: SamplingPlan;
  readonly stopTokens: readonly number[];
  readonly fingerprintDigest: string;
}

/** An item as a message. */
export function workMessage(item: WorkItem, context: WorkContext): RolloutWork {
  const { identity, policy } = item;
  const { prompt } = context;
  return create(RolloutWorkSchema, {
    group: groupMessage(identity),
    incarnation: context.incarnation,
    purpose: PURPOSES[identity.purpose],
    firstSample: item.firstSample,
    sampleCount: item.samples,
    prompt: { promptId: prompt.id, fieldsJson: prompt.fieldsJson },
    promptTokens: Array.from(prompt.tokens),
    policy: { version: policy.number, digest: policy.digest },
    sampling: { ...context.sampling, stopTokens: [...context.stopTokens] },
    seed: BigInt(context.seed),
    fingerprintDigest: context.fingerprintDigest,
  });
}

/** A group's identity in the contract's terms. */
export function groupMessage(identity: WorkItem["identity"]): {
  runUid: string;
  stage: number;
  step: number;
  group: number;
  draw: number;
} {
  const { uid, stage, step, group, draw } = identity;
  return { runUid: uid, stage, step, group, draw };
}

/**
 * The head of a scored message, as far as admission looks. `isScored` says whether a sample's rewards make a number.
 * Throws `SCORED_MALFORMED` where there is nothing to admit.
 */
export function scoredHead(
  batch: TrajectoryBatch,
  isScored: (trajectory: Trajectory) => boolean,
): ScoredHead {
  const [first] = batch.trajectories;
  const policy = first?.segments[0]?.policy;
  if (batch.group === undefined || first === undefined || policy === undefined) {
    throw new OarlockError("SCORED_MALFORMED", "scored message without group, trajectories or policy");
  }
  const { runUid, stage, step, group, draw } = batch.group;
  const purpose = first.purpose === RolloutPurpose.EVALUATION ? "evaluation" : "rollout";
  return {
    identity: { uid: runUid, purpose, stage, step, group, draw },
    incarnation: batch.incarnation,
    policy: { number: policy.version, digest: policy.digest },
    fingerprint: first.fingerprintDigest,
    samples: batch.trajectories.map((trajectory): SampleVerdict => {
      const made = isSameOrigin(trajectory, first) && trajectory.finishReason !== FinishReason.ABORT;
      return { sample: trajectory.sample, status: made && isScored(trajectory) ? "scored" : "failed" };
    }),
  };
}

/** Whether two trajectories of a message come from the same weights: lockstep has one segment each (W2). */
function isSameOrigin(trajectory: Trajectory, first: Trajectory): boolean {
  const [a, ...more] = trajectory.segments;
  const b = first.segments[0];
  return (
    more.length === 0 && a?.policy?.version === b?.policy?.version && a?.policy?.digest === b?.policy?.digest
  );
}
