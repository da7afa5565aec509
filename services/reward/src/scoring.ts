/**
 * From trajectories to verdicts: which scorers judge which work, and how a verdict travels (S1: a failure is never a
 * number). Pure apart from the scorers it is given; it does not know where trajectories come from.
 */
import { OarlockError } from "@oarlock/errors";
import { NamedRewardSchema, RewardScope, RolloutPurpose, create } from "@oarlock/proto";
import type { NamedReward, Trajectory } from "@oarlock/proto";

/** What a scorer sees of a trajectory. Text is decoded for scorers only; training uses the tokens. */
export interface ScoringInput {
  readonly prompt: string;
  readonly completion: string;
  readonly completionTokens: number;
  /** The data row's fields. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** Whether the length limit cut the completion. */
  readonly truncated: boolean;
}

/** A verdict: a score or a typed failure. */
export type Verdict =
  | { readonly type: "scored"; readonly value: number; readonly explanation?: string }
  | {
      readonly type: "failed";
      readonly code: string;
      readonly reason: string;
      readonly retryable: boolean;
    };

/** The identity of a scorer, pinned by the conductor. */
export interface ScorerInfo {
  readonly name: string;
  readonly version: string;
  readonly deterministic: boolean;
  readonly optional: boolean;
}

/** A named vector of scorers: `verdicts[i][j]` is scorer j's on input i. Never rejects for a scorer's fault. */
export interface ScorerSet extends AsyncDisposable {
  readonly scorers: readonly ScorerInfo[];
  score(inputs: readonly ScoringInput[], signal?: AbortSignal): Promise<readonly (readonly Verdict[])[]>;
}

/** The scorers of every kind of work of a run. */
export interface RunScorers {
  /** By stage index; a stage without rollouts has none. */
  readonly stages: ReadonlyMap<number, ScorerSet>;
  readonly evaluation: ScorerSet | undefined;
}

/** The scorers of a trajectory. Throws `SCORERS_MISSING`, which parks the batch: it is not of this plan. */
export function scorersFor(scorers: RunScorers, trajectory: Trajectory): ScorerSet {
  const stage = trajectory.group?.stage ?? -1;
  const set =
    trajectory.purpose === RolloutPurpose.EVALUATION ? scorers.evaluation : scorers.stages.get(stage);
  if (set === undefined) {
    throw new OarlockError(
      "SCORERS_MISSING",
      `no scorers for purpose ${RolloutPurpose[trajectory.purpose]}, stage ${stage}: not work of this plan`,
    );
  }
  return set;
}

/** A scorer's verdict in the contract's terms. */
export function namedReward(scorer: ScorerInfo, verdict: Verdict): NamedReward {
  const head = { name: scorer.name, scorerVersion: scorer.version };
  if (verdict.type === "scored") {
    const { value, explanation = "" } = verdict;
    return create(NamedRewardSchema, {
      ...head,
      verdict: {
        case: "scored",
        value: { scope: RewardScope.TRAJECTORY, values: [value], explanation },
      },
    });
  }
  const { code, reason, retryable } = verdict;
  return create(NamedRewardSchema, {
    ...head,
    verdict: { case: "failed", value: { code, reason, retryable } },
  });
}

/** The row's fields; a row that is no JSON object has none. */
export function rowFields(json: string): Record<string, unknown> {
  if (json === "") return {};
  const value: unknown = JSON.parse(json);
  // A JSON object's keys are strings, and nothing is assumed of its values.
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
