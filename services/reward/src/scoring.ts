/**
 * From trajectories to verdicts: which scorers judge which work, and how a verdict travels (S1: a failure is never a
 * number). Pure apart from the scorers it is given; it does not know where trajectories come from.
 */
import { OarlockError } from "@oarlock/errors";
import { FinishReason, NamedRewardSchema, RewardScope, RolloutPurpose, create } from "@oarlock/proto";
import type { NamedReward, ScorerPin, Trajectory } from "@oarlock/proto";
import type { Verdict } from "@oarlock/rewards";
import { inSlices } from "@oarlock/runtime";
import type { ScoredListener, ScorerInfo } from "@oarlock/sandbox";
import type { ScorerSet, TrajectoryInput } from "@oarlock/scoring";

/** Tokens to text, for scorers only: training never decodes. */
export interface TextDecoder {
  decode(tokens: readonly number[]): string;
}

/** The scorers of every kind of work of a run. */
export interface RunScorers {
  /** By stage index; a stage without rollouts has none. */
  readonly stages: ReadonlyMap<number, ScorerSet>;
  readonly evaluation: ScorerSet | undefined;
}

/** Every set of scorers once: an evaluation may share that of a stage. */
export function scorerSets({ stages, evaluation }: RunScorers): ScorerSet[] {
  return [...new Set([...stages.values(), ...(evaluation === undefined ? [] : [evaluation])])];
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

/** A scorer's verdict in the contract's terms. `pinned` is the version that was asked for, if one was. */
export function namedReward(
  scorer: ScorerInfo,
  verdict: Verdict,
  pinned: string = scorer.version,
): NamedReward {
  const head = { name: scorer.name, scorerVersion: pinned };
  if (verdict.type === "scored") {
    const { value, tokens, explanation = "", version = pinned } = verdict;
    return create(NamedRewardSchema, {
      ...head,
      scorerVersion: version,
      verdict: {
        case: "scored",
        value:
          tokens === undefined
            ? { scope: RewardScope.TRAJECTORY, values: [value], explanation }
            : {
                scope: RewardScope.STEP,
                values: [...tokens.values],
                positions: [...tokens.positions],
                explanation,
              },
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

/** What scoring works with. */
export interface ScoringParts {
  readonly scorers: RunScorers;
  readonly decoder: TextDecoder;
  /** Called when the scorers are asked; the result hears of each of them. */
  readonly watch?: () => ScoredListener;
}

/** Of what is scored, besides the trajectories. */
export interface ScoringRequest {
  /** Versions that shall judge; a scorer without one judges by what it has. */
  readonly pins: readonly ScorerPin[];
  readonly signal?: AbortSignal | undefined;
}

/** The verdicts on trajectories of one stage and purpose, by its scorers, in order. */
export async function scoreTrajectories(
  parts: ScoringParts,
  trajectories: readonly Trajectory[],
  request: ScoringRequest,
): Promise<NamedReward[][]> {
  const [first] = trajectories;
  if (first === undefined) return [];
  const set = scorersFor(parts.scorers, first);
  const inputs = await inSlices(trajectories, (trajectory) => scoringInput(parts.decoder, trajectory));
  const wanted = request.pins.flatMap(({ name, version }) =>
    version === "" ? [] : [[name, version] as const],
  );
  const pins = new Map(wanted);
  const verdicts = await set.score(inputs, { signal: request.signal, onScored: parts.watch?.(), pins });
  return verdicts.map((row) =>
    row.flatMap((verdict, i) => {
      const scorer = set.scorers[i];
      return scorer === undefined ? [] : [namedReward(scorer, verdict, pins.get(scorer.name))];
    }),
  );
}

/** What scorers see of a trajectory. The stop token ends the completion and is not part of its text. */
function scoringInput(decoder: TextDecoder, trajectory: Trajectory): TrajectoryInput {
  const { promptLength, tokenIds, finishReason, prompt } = trajectory;
  const end = finishReason === FinishReason.STOP ? tokenIds.length - 1 : tokenIds.length;
  return {
    prompt: decoder.decode(tokenIds.slice(0, promptLength)),
    completion: decoder.decode(tokenIds.slice(promptLength, end)),
    completionTokens: tokenIds.length - promptLength,
    fields: rowFields(prompt?.fieldsJson ?? ""),
    truncated: finishReason === FinishReason.LENGTH,
    tokens: Int32Array.from(tokenIds),
    trajectory,
  };
}
