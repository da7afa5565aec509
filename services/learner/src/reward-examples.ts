/**
 * What a reward model learns from, by its loss: which rows an example is, what is minimised over them, and what the scores of
 * held-out ones say, as metrics. Pure.
 */
import { type LeadReport, pairReport, type PairScores, stepReport } from "@oarlock/rl";
import type { ResolvedRewardModel } from "@oarlock/runfile";
import { type Objective, sequenceRow, stepsRow, type TrainingRow } from "@oarlock/training";
import type { Preferences, StepLabels, TokenizedRanking } from "./ports.ts";

type Numbers = Readonly<Record<string, number>>;
type Loss = ResolvedRewardModel["loss"];

export interface RewardExamples {
  /** Of those that are trained on. */
  readonly count: number;
  /** The rows of one of them: of a ranking, the best first. */
  rowsOf(index: number): TrainingRow[];
  heldOutRows(): TrainingRow[];
  /** `scores` of the held-out rows, beside their tokens. */
  report(scores: readonly Float32Array[]): Numbers;
}

/** Where the rows of a stage come from. */
export interface RewardData {
  preferences(stage: number): Preferences;
  stepLabels(stage: number): StepLabels;
}

interface ExampleOptions {
  /** Place of the stage in the run, and its name. */
  readonly stage: number;
  readonly name: string;
  readonly plan: ResolvedRewardModel;
}

interface LossKind {
  readonly examples: (data: RewardData, options: ExampleOptions) => RewardExamples;
  readonly objective: (plan: ResolvedRewardModel) => Objective;
  readonly gate: Gate;
}

/** What `minimumAccuracy` asks of the held-out examples. */
export interface Gate {
  readonly statistic: string;
  readonly passes: (value: number, minimum: number) => boolean;
  /** What a value that does not pass is told, after the minimum. */
  readonly asked: string;
  /** Why there is no value. */
  readonly unmeasured: string;
}

/** Margins are part of pairs alone: rankings and steps have a plan with none. */
const rankings = {
  examples: rankingExamples,
  gate: {
    statistic: "accuracy",
    passes: (value, minimum) => value >= minimum,
    asked: "",
    unmeasured: "was not measured",
  },
} satisfies Partial<LossKind>;

const LOSSES: { readonly [L in Loss]: LossKind } = {
  "bradley-terry": { ...rankings, objective: ({ centering }) => ({ type: "pairs", centering }) },
  "plackett-luce": {
    ...rankings,
    objective: ({ answers }) => ({ type: "ranking", loss: "plackett-luce", answers }),
  },
  "all-pairs": { ...rankings, objective: ({ answers }) => ({ type: "ranking", loss: "all-pairs", answers }) },
  "binary-cross-entropy": {
    examples: stepExamples,
    objective: () => ({ type: "steps" }),
    // Most steps may be right: what always says so has ½, and must not pass the default.
    gate: {
      statistic: "balanced_accuracy",
      passes: (value, minimum) => value > minimum || value === 1,
      asked: ", which it has to exceed",
      unmeasured: "was not measured: the held-out steps are all right or all wrong",
    },
  },
};

export function rewardExamples(data: RewardData, options: ExampleOptions): RewardExamples {
  return LOSSES[options.plan.loss].examples(data, options);
}

export function rewardObjective(plan: ResolvedRewardModel): Objective {
  return LOSSES[plan.loss].objective(plan);
}

/** What a stage's gate looks at. */
export const gateOf = ({ loss }: ResolvedRewardModel): Gate => LOSSES[loss].gate;

/** Name of a statistic of a stage's held-out examples. */
export const heldOutName = (stage: string, statistic: string): string =>
  `val-core/held-out/${stage}/${statistic}`;

function rankingExamples(data: RewardData, { stage, name, plan }: ExampleOptions): RewardExamples {
  const { training, heldOut, overlong, otherCount } = data.preferences(stage);
  const { answers, margin } = plan;
  return {
    count: training.length,
    rowsOf: (index) => rankingRows(training[index] ?? [], margin),
    heldOutRows: () => heldOut.flatMap((ranking) => rankingRows(ranking)),
    report(scores) {
      const last = scores.map((row) => row.at(-1) ?? Number.NaN);
      const pairs = heldOut.flatMap((_, r) => pairsOf(last.slice(answers * r, answers * (r + 1))));
      if (pairs.length === 0) return {};
      return {
        ...leadMetrics(name, pairReport(pairs)),
        [`val-aux/${name}/pairs`]: pairs.length,
        [`val-aux/${name}/pairs_overlong`]: overlong,
        ...(otherCount === 0 ? {} : { [`val-aux/${name}/rankings_of_other_counts`]: otherCount }),
      };
    },
  };
}

/** A ranking as rows of one forward pass, the best first; `margin` is that of a pair. */
function rankingRows(ranking: TokenizedRanking, margin = 0): TrainingRow[] {
  return ranking.map((answer, place) => sequenceRow(answer, place === 0 ? margin : 0));
}

/** Every pair of a ranking, the better score first. */
function pairsOf(scores: readonly number[]): PairScores[] {
  return scores.flatMap((preferred, place) =>
    scores.slice(place + 1).map((rejected) => ({ preferred, rejected })),
  );
}

function stepExamples(data: RewardData, { stage, name }: ExampleOptions): RewardExamples {
  const { training, heldOut, overlong, otherCount } = data.stepLabels(stage);
  return {
    count: training.length,
    rowsOf(index) {
      const one = training[index];
      return one === undefined ? [] : [stepsRow(one.tokens, one.steps)];
    },
    heldOutRows: () => heldOut.map(({ tokens, steps }) => stepsRow(tokens, steps)),
    report(scores) {
      const steps = heldOut.flatMap((one, row) =>
        one.steps.map(({ end, label }) => ({ score: scores[row]?.[end + 1] ?? Number.NaN, label })),
      );
      if (steps.length === 0) return {};
      const { rightShare, accuracyRight, accuracyWrong, balancedAccuracy, f1Wrong, ...leads } =
        stepReport(steps);
      return {
        ...leadMetrics(name, leads),
        ...(balancedAccuracy === undefined
          ? {}
          : { [heldOutName(name, "balanced_accuracy")]: balancedAccuracy }),
        ...(accuracyRight === undefined ? {} : { [`val-aux/${name}/accuracy_right`]: accuracyRight }),
        ...(accuracyWrong === undefined ? {} : { [`val-aux/${name}/accuracy_wrong`]: accuracyWrong }),
        [`val-aux/${name}/f1_wrong`]: f1Wrong,
        [`val-aux/${name}/right_fraction`]: rightShare,
        [`val-aux/${name}/steps`]: steps.length,
        [`val-aux/${name}/answers`]: heldOut.length,
        [`val-aux/${name}/answers_overlong`]: overlong,
        [`val-aux/${name}/answers_of_other_steps`]: otherCount,
      };
    },
  };
}

/** What leads say; a bar of the histogram is named by where it begins. */
function leadMetrics(stage: string, report: LeadReport): Numbers {
  const { accuracy, calibrationError, reliability, loss, meanLead, margins } = report;
  const name = heldOutName(stage, "accuracy");
  // Digits enough to tell the bars of leads apart that are all alike.
  const bars = margins.map(({ from, count }) => [
    `val-aux/${stage}/margins/${Number(from.toPrecision(6))}`,
    count,
  ]);
  const bins = reliability.flatMap((bin, at) =>
    Object.entries(bin).map(
      ([what, value]) => [`val-aux/${stage}/reliability/${at}/${what}`, value] as const,
    ),
  );
  return {
    [name]: accuracy.mean,
    [`${name}/ci_low`]: accuracy.low,
    [`${name}/ci_high`]: accuracy.high,
    [`val-aux/${stage}/calibration_error`]: calibrationError,
    [`val-aux/${stage}/loss`]: loss,
    [`val-aux/${stage}/margin`]: meanLead,
    ...Object.fromEntries([...bars, ...bins]),
  };
}
