/** A reward model's verdicts on completions: one score of the whole (outcome), or one of each step (process). */
import { setImmediate as immediate } from "node:timers/promises";
import { failed, scored, scoredTokens } from "@oarlock/rewards";
import type { Verdict } from "@oarlock/rewards";
import type { ScoreCallOptions, ScoreModel, ScorePlaces } from "@oarlock/training";
import { rangeOf } from "./scorer-set.ts";
import type { TrajectoryInput } from "./scorer-set.ts";

/** Indices of the last tokens of a completion's steps, ascending. */
export type StepFinder = (completion: readonly number[]) => readonly number[];

export interface ModelCall extends Omit<ScoreCallOptions, "places"> {
  /** Of a process reward model. Absent: one score of the whole. */
  readonly stepEnds: StepFinder | undefined;
}

/** One call of the model. Rejects where that fails. */
export async function modelVerdicts(
  model: Pick<ScoreModel, "score">,
  inputs: readonly TrajectoryInput[],
  { stepEnds, ...call }: ModelCall,
): Promise<Verdict[]> {
  const texts = inputs.map(({ tokens }) => tokens);
  if (stepEnds === undefined) return Array.from(await model.score(texts, call), (value) => scored(value));
  const places = await placesOf(inputs, stepEnds);
  return verdictsAt(inputs, places, await model.score(texts, { ...call, places }));
}

/** The ends of each completion's steps among all tokens. The event loop answers after each completion (P1). */
async function placesOf(inputs: readonly TrajectoryInput[], stepEnds: StepFinder): Promise<ScorePlaces> {
  const places: number[][] = [];
  for (const input of inputs) {
    const { promptLength } = rangeOf(input);
    const completion = Array.from(input.tokens.subarray(promptLength));
    places.push(stepEnds(completion).map((end) => promptLength + end));
    await immediate();
  }
  return places;
}

/** Scores of steps, as those of other processes travel. A completion without a token has none (S1). */
function verdictsAt(
  inputs: readonly TrajectoryInput[],
  places: ScorePlaces,
  values: Float32Array,
): Verdict[] {
  let from = 0;
  return inputs.map((input, i) => {
    const positions = places[i] ?? [];
    if (positions.length === 0) return failed("COMPLETION_EMPTY", "a completion without tokens has no steps");
    const ofInput = Array.from(values.subarray(from, (from += positions.length)));
    return scoredTokens({ positions, values: ofInput }, rangeOf(input));
  });
}
