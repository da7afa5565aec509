/** The learner's translation: work items into messages, scored messages into verdicts. Pure. */
import { readGroupMessageId } from "@oarlock/bus";
import { OarlockError } from "@oarlock/errors";
import { FinishReason, RolloutWorkSchema, create } from "@oarlock/proto";
import type { RolloutWork, Trajectory, TrajectoryBatch } from "@oarlock/proto";
import { rolloutPurpose, workPurpose } from "@oarlock/run";
import type { GroupIdentity, PolicyVersion, SampleVerdict, ScoredHead, WorkItem } from "@oarlock/run";
import type { SamplingPlan } from "./plan.ts";
import type { PromptRow } from "./ports.ts";
import { checkSignal } from "./token-signals.ts";

/** What a work message says besides the item. */
export interface WorkContext {
  readonly incarnation: number;
  readonly seed: number;
  readonly prompt: PromptRow;
  readonly sampling: SamplingPlan;
  /** Whose log-probs the actor sends along. */
  readonly reference: PolicyVersion | undefined;
  /** Whose values. */
  readonly critic: PolicyVersion | undefined;
  readonly stopTokens: readonly number[];
  readonly fingerprintDigest: string;
  /** Versions of the scorers, by name. */
  readonly pins: ReadonlyMap<string, string>;
}

/** An item as a message. */
export function workMessage(item: WorkItem, context: WorkContext): RolloutWork {
  const { identity, policy } = item;
  const { prompt, reference, critic } = context;
  return create(RolloutWorkSchema, {
    group: groupMessage(identity),
    incarnation: context.incarnation,
    purpose: rolloutPurpose(identity.purpose),
    firstSample: item.firstSample,
    sampleCount: item.samples,
    prompt: { promptId: prompt.id, fieldsJson: prompt.fieldsJson },
    promptTokens: Array.from(prompt.tokens),
    policy: identityOf(policy),
    sampling: { ...context.sampling, stopTokens: [...context.stopTokens] },
    seed: BigInt(context.seed),
    fingerprintDigest: context.fingerprintDigest,
    followNewest: item.followNewest,
    ...(reference === undefined ? {} : { reference: identityOf(reference) }),
    ...(critic === undefined ? {} : { critic: identityOf(critic) }),
    scorers: [...context.pins].map(([name, version]) => ({ name, version })),
  });
}

const identityOf = ({ number, digest }: PolicyVersion): { version: number; digest: string } => ({
  version: number,
  digest,
});

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

/** Whose group a message id names, and of which learner; undefined where it is no message of a group. */
export function groupOfMessage(
  msgId: string,
): { readonly identity: GroupIdentity; readonly incarnation: number } | undefined {
  const read = readGroupMessageId(msgId);
  if (read === undefined) return undefined;
  const { runUid, ...place } = read.group;
  const purpose = read.part.startsWith("evaluation/") ? "evaluation" : "rollout";
  return { identity: { uid: runUid, purpose, ...place }, incarnation: read.incarnation };
}

/** What is asked of the samples of a message. */
export interface ScoredExpectation {
  /** Whether a sample's rewards make a number (S1). */
  readonly isScored: (trajectory: Trajectory) => boolean;
  /** Whose log-probs come with the rollouts of a stage, if anyone's do. */
  readonly referenceOf: (stage: number) => PolicyVersion | undefined;
  /** Whose values come with what a policy version generated. */
  readonly criticOf: (stage: number, policy: number) => PolicyVersion | undefined;
}

/**
 * The head of a scored message, as far as admission looks. Throws `SCORED_MALFORMED` where there is nothing to admit, where it is
 * not said of every token which policy drew it (W2), or where log-probs are missing.
 */
export function scoredHead(
  batch: TrajectoryBatch,
  { isScored, referenceOf, criticOf }: ScoredExpectation,
): ScoredHead {
  const [first] = batch.trajectories;
  if (batch.group === undefined || first === undefined) {
    throw new OarlockError("SCORED_MALFORMED", "scored message without group or trajectories");
  }
  const { runUid, stage, step, group, draw } = batch.group;
  const purpose = workPurpose(first.purpose) ?? "rollout";
  for (const trajectory of batch.trajectories) checkLogprobs(trajectory);
  const policies = policiesOf(batch.trajectories);
  if (purpose === "rollout") {
    const [policy] = policies;
    const [reference, critic] = [referenceOf(stage), policy && criticOf(stage, policy.number)];
    for (const trajectory of batch.trajectories) {
      if (reference !== undefined) checkSignal(trajectory, { what: "reference log-probs", by: reference });
      if (critic !== undefined) checkSignal(trajectory, { what: "values", by: critic });
    }
  }
  return {
    identity: { uid: runUid, purpose, stage, step, group, draw },
    incarnation: batch.incarnation,
    policies,
    fingerprint: first.fingerprintDigest,
    producedBy: first.producedBy,
    samples: batch.trajectories.map((trajectory): SampleVerdict => {
      const made = trajectory.finishReason !== FinishReason.ABORT;
      return { sample: trajectory.sample, status: made && isScored(trajectory) ? "scored" : "failed" };
    }),
  };
}

/** A log-prob for each token of the completion. */
function checkLogprobs({ behaviourLogprobs, promptLength, tokenIds, sample }: Trajectory): void {
  const expected = (tokenIds.length - promptLength) * Float32Array.BYTES_PER_ELEMENT;
  if (behaviourLogprobs.length === expected) return;
  const found = `${behaviourLogprobs.length} bytes of behaviour log-probs`;
  throw new OarlockError("SCORED_MALFORMED", `sample ${sample}: ${found}; its completion needs ${expected}`);
}

/** Every policy that drew a token, each once. Segments are adjacent and cover the completion. */
function policiesOf(trajectories: readonly Trajectory[]): PolicyVersion[] {
  const found = new Map<string, PolicyVersion>();
  for (const { segments, promptLength, tokenIds, sample } of trajectories) {
    let covered = promptLength;
    for (const { start, end, policy } of segments) {
      if (start !== covered || end <= start || policy === undefined) break;
      covered = end;
      found.set(`${policy.version}/${policy.digest}`, { number: policy.version, digest: policy.digest });
    }
    if (covered === tokenIds.length && segments.at(-1)?.end === covered) continue;
    throw new OarlockError("SCORED_MALFORMED", `sample ${sample}: its segments do not cover its completion`);
  }
  return [...found.values()];
}
