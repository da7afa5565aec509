/**
 * Losses over preferences as parts of the training graph: the formulas are `preference.ts`'s. Pairs are two vectors of
 * scores [P]; rankings of K answers are a matrix [R, K], the best first. Results are scalars.
 */
import {
  add,
  cast,
  div,
  greater,
  logSoftmax,
  mul,
  neg,
  reduceSum,
  slice,
  softplus,
  split,
  squeeze,
  sub,
  type Value,
} from "@oarlock/onnx";

export interface ScoredPairs {
  readonly preferred: Value; // [P]
  readonly rejected: Value; // [P]
  readonly margin?: Value; // [P]
  /** What each pair weighs: 1 / pairs of the whole batch. [P] */
  readonly weight: Value;
}

export interface PairLoss {
  /** The scalar to minimise. */
  readonly loss: Value;
  /** Σ weight · quantity. */
  readonly sums: {
    /** Pairs whose preferred answer has the higher score. */
    readonly accuracy: Value;
    /** R_w − R_l. */
    readonly lead: Value;
    /** (R_w + R_l) / 2. */
    readonly score: Value;
  };
}

/** Σ w · `bradleyTerryLoss`; `centering` is η. */
export function pairLoss({ preferred, rejected, margin, weight }: ScoredPairs, centering = 0): PairLoss {
  const weighted = (value: Value): Value => reduceSum(mul(value, weight));
  const lead = sub(preferred, rejected);
  const total = add(preferred, rejected);
  const ranking = softplus(margin ? sub(margin, lead) : neg(lead));
  const loss = centering === 0 ? ranking : add(ranking, mul(mul(total, total), centering));
  return {
    loss: weighted(loss),
    sums: {
      accuracy: weighted(cast(greater(lead, 0), "float32")),
      lead: weighted(lead),
      score: weighted(mul(total, 0.5)),
    },
  };
}

/** The fixed number of answers of each ranking. */
const answersOf = (ranked: Value): number => Number(ranked.shape[1]);

/** The scores of each place: K vectors [R]. */
const columnsOf = (ranked: Value): Value[] =>
  split(
    ranked,
    Array.from({ length: answersOf(ranked) }, () => 1),
    1,
  ).map((column) => squeeze(column, [1]));

/** Σ_r w_r · `plackettLuceLoss`: `ranked` [R, K], `weight` [R]. The log-softmax of the rest says how likely its first is. */
export function plackettLuceGraph(ranked: Value, weight: Value): Value {
  const K = answersOf(ranked);
  const places = Array.from({ length: K - 1 }, (_, place) => {
    const rest = slice(ranked, 1, place, K);
    return neg(squeeze(slice(logSoftmax(rest), 1, 0, 1), [1])); // [R]
  });
  return reduceSum(
    mul(
      places.reduce((a, b) => add(a, b)),
      weight,
    ),
  );
}

/** Σ_r w_r · `allPairsLoss`: `ranked` [R, K], `weight` [R]. */
export function allPairsGraph(ranked: Value, weight: Value): Value {
  const columns = columnsOf(ranked);
  const pairs = columns.flatMap((preferred, place) =>
    columns.slice(place + 1).map((rejected) => softplus(sub(rejected, preferred))),
  );
  return reduceSum(
    mul(
      div(
        pairs.reduce((a, b) => add(a, b)),
        pairs.length,
      ),
      weight,
    ),
  );
}

type RankingLossName = "plackett-luce" | "all-pairs";

const RANKING_LOSSES: { readonly [N in RankingLossName]: (ranked: Value, weight: Value) => Value } = {
  "plackett-luce": plackettLuceGraph,
  "all-pairs": allPairsGraph,
};

/** A loss over `ranked` [R, K], the best first, with `weight` [R]; its sums are means over all pairs of a ranking. */
export function rankingLoss(ranked: Value, weight: Value, loss: RankingLossName): PairLoss {
  const columns = columnsOf(ranked);
  const leads = columns.flatMap((better, place) =>
    columns.slice(place + 1).map((worse) => sub(better, worse)),
  );
  const mean = (values: readonly Value[]): Value =>
    reduceSum(
      mul(
        div(
          values.reduce((a, b) => add(a, b)),
          values.length,
        ),
        weight,
      ),
    );
  return {
    loss: RANKING_LOSSES[loss](ranked, weight),
    sums: {
      accuracy: mean(leads.map((lead) => cast(greater(lead, 0), "float32"))),
      lead: mean(leads),
      score: mean(columns),
    },
  };
}
