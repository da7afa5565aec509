/**
 * What a checkpoint of the learner holds besides arrays, and the names of the arrays (T3). Written as JSON, so what is
 * read back is checked field by field. Pure.
 */
import { OarlockError, shortDigest } from "@oarlock/errors";
import type { GuardState, Ledger, PolicyVersion, Position, StreamCursor } from "@oarlock/run";
import type { StageArtifact } from "@oarlock/checkpoint";
import type { EvaluationRecord } from "./ports.ts";
import type { RewardMoments } from "./reward-shaping.ts";

export interface LearnerCheckpoint {
  readonly uid: string;
  readonly incarnation: number;
  /** Digest of the resolved run: a checkpoint continues only the plan that it is of (D1). */
  readonly planDigest: string;
  readonly position: Position;
  /** The policy at the position. */
  readonly policy: PolicyVersion;
  readonly optimizerStep: number;
  /** Number of the policy at the stage's start. */
  readonly basePolicy: number;
  /** Older versions that lag still needs, oldest first; their weights are arrays `policy-<number>`. */
  readonly laggingPolicies: readonly PolicyVersion[];
  /** Where actors compute values, the critics that go with them; arrays `critic-<number>`. */
  readonly laggingCritics?: readonly PolicyVersion[];
  readonly ledger: Ledger;
  /** Streaming mode: which groups of the stage are neither trained nor dropped, and are issued again. */
  readonly stream?: StreamCursor;
  readonly evaluations: readonly EvaluationRecord[];
  /** What finished stages made, by name; the weights are kept under their digests. */
  readonly results?: Readonly<Record<string, StageArtifact>>;
  /** β of the stage, where a controller moves it. */
  readonly klCoefficient?: number;
  /** Of the stage's scores, where a scorer is normalised. */
  readonly rewardMoments?: RewardMoments;
  /** What the guards of the stage have seen. */
  readonly guards?: GuardState;
  /** The reference that actors compute with; its weights are the array `reference`, which else is the trainer's. */
  readonly referencePolicy?: PolicyVersion;
  /** What a roll-back goes back to; its weights are the array `good`. */
  readonly goodPolicy?: PolicyVersion;
  /** Updates of the critic or reward model; its weights and moments are arrays `scorer-…`. */
  readonly scorerStep?: number;
  /** Further updates of a value head on the policy's trunk, made while it warmed up. */
  readonly scorerHeadStep?: number;
  /** Training seconds so far, over all incarnations. */
  readonly seconds: number;
}

/** Names of the arrays. `reference`, `good` and those of the critic or reward model are absent where the stage has none. */
export const ARRAYS = {
  weights: "weights",
  m: "m",
  v: "v",
  reference: "reference",
  good: "good",
  scorerWeights: "scorer-weights",
  scorerM: "scorer-m",
  scorerV: "scorer-v",
} as const;

/** Name of the array of an older policy version. */
export function policyArray(number: number): string {
  return `policy-${number}`;
}

/** Name of the array of the critic that goes with that version. */
export function criticArray(number: number): string {
  return `critic-${number}`;
}

/** Reads the JSON part. Throws `CHECKPOINT_MISMATCH` where it is of another run, plan or shape. */
export function readLearnerCheckpoint(
  value: unknown,
  expected: { readonly uid: string; readonly planDigest: string },
): LearnerCheckpoint {
  if (!isCheckpoint(value)) {
    throw new OarlockError("CHECKPOINT_MISMATCH", "the checkpoint holds no learner state of this version");
  }
  if (value.uid !== expected.uid) {
    throw new OarlockError(
      "CHECKPOINT_MISMATCH",
      `the checkpoint is of run ${value.uid}, not ${expected.uid}`,
    );
  }
  if (value.planDigest !== expected.planDigest) {
    throw new OarlockError(
      "CHECKPOINT_MISMATCH",
      `the checkpoint is of plan ${shortDigest(value.planDigest)}, this plan is ` +
        `${shortDigest(expected.planDigest)}: resume with the folder's own plan`,
    );
  }
  return value;
}

function isCheckpoint(value: unknown): value is LearnerCheckpoint {
  if (typeof value !== "object" || value === null) return false;
  const names = ["uid", "planDigest", "position", "policy", "laggingPolicies", "ledger", "evaluations"];
  const numbers = ["incarnation", "optimizerStep", "basePolicy", "seconds"];
  const fields: Record<string, unknown> = { ...value };
  return (
    names.every((name) => fields[name] !== undefined) &&
    numbers.every((name) => typeof fields[name] === "number")
  );
}
