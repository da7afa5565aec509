/**
 * From trajectories to verdicts: which scorers judge which work, and how a verdict travels (S1: a failure is never a
 * number). Pure apart from the scorers it is given; it does not know where trajectories come from.
 */
import { OarlockError } from "@oarlock/errors";
import { NamedRewardSchema, RewardScope, RolloutPurpose, create } from "@oarlock/proto";
import type { NamedReward, Trajectory } from "@oarlock/proto";
import type { Verdict } from "@oarlock/rewards";
import type { ScorerInfo, ScorerPool } from "@oarlock/sandbox";

/** A named vector of scorers, as far as the service uses it. */
export type ScorerSet = Pick<ScorerPool, "scorers" | "score">;

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
