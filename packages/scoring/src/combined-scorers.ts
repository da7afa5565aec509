/** Verifiers and functions of a pool, and models beside it, as one vector of scorers in the plan's order. */
import type { ScoringInput, Verdict } from "@oarlock/rewards";
import { failed } from "@oarlock/rewards";
import type { ScorerPool } from "@oarlock/sandbox";
import type { BatchScorer } from "./model-scorer.ts";
import type { ScorerSet, TrajectoryInput } from "./scorer-set.ts";
import { otherVersion } from "./version.ts";

/** Where the scorer of each place in the plan's list is: in the pool, or a model of its own. */
export type ScorerPlace = { readonly pooled: number } | { readonly model: BatchScorer };

const MISSING = failed("SCORER_UNKNOWN", "the scorer gave no verdict");

/** Of a plan without models, the pool itself would do. */
export function combineScorers(
  pool: Pick<ScorerPool, "scorers" | "score">,
  places: readonly ScorerPlace[],
): ScorerSet {
  return {
    get scorers() {
      return places.flatMap((place) =>
        "model" in place ? [place.model.info] : (pool.scorers[place.pooled] ?? []),
      );
    },
    activity: () => places.flatMap((place) => ("model" in place ? (place.model.activity?.() ?? []) : [])),
    async score(inputs, { signal, onScored, pins } = {}) {
      const scoreModel = async (model: BatchScorer): Promise<Verdict[]> => {
        const verdicts = await model.score(inputs, signal, pins?.get(model.info.name));
        onScored?.(model.info, verdicts);
        return verdicts;
      };
      const [pooled, ...modelled] = await Promise.all([
        pool.scorers.length === 0 ? [] : pool.score(inputs.map(withoutTokens), signal, onScored),
        ...places.map((place) => ("model" in place ? scoreModel(place.model) : [])),
      ]);
      const verdictOf = (place: ScorerPlace, p: number, i: number): Verdict | undefined => {
        if ("model" in place) return modelled[p]?.[i];
        const scorer = pool.scorers[place.pooled];
        const wanted = scorer && pins?.get(scorer.name);
        // Code has one version, the plan's.
        return scorer && wanted && wanted !== scorer.version
          ? otherVersion(scorer, wanted)
          : pooled[i]?.[place.pooled];
      };
      return inputs.map((_, i) => places.map((place, p) => verdictOf(place, p, i) ?? MISSING));
    },
  };
}

/** Tokens are for models: they are not copied to the threads of those who read text. */
export function withoutTokens(input: TrajectoryInput): ScoringInput {
  const { prompt, completion, completionTokens, fields, truncated } = input;
  return { prompt, completion, completionTokens, fields, truncated };
}
