/**
 * What held-out steps say of a process reward model: how many it judges rightly, right and wrong ones apart, and whether its
 * probabilities can be believed. Pure: scores and labels in, numbers out.
 */
import { type LeadReport, leadReport, winOf } from "./preference-metrics.ts";
import { isRight, type LabelledScore, stepLoss } from "./step-loss.ts";

export interface StepReport extends LeadReport {
  /** Share of steps that are right: what always says so has it for an accuracy. */
  readonly rightShare: number;
  /** Of the right steps, the share found right; undefined without any. */
  readonly accuracyRight?: number;
  /** Of the wrong steps, the share found wrong; undefined without any. */
  readonly accuracyWrong?: number;
  /** The mean of both, ½ for what does not look; undefined where one is. */
  readonly balancedAccuracy?: number;
  /** F1 of finding wrong steps: 2·TP / (2·TP + FP + FN). */
  readonly f1Wrong: number;
}

/** A step is found right where its score is above 0, p > ½; at 0 it is half of each. Throws nothing. */
export function stepReport(steps: readonly LabelledScore[]): StepReport {
  const leads = steps.map(({ score, label }) => (isRight(label) ? score : -score));
  const winsOf = (right: boolean): { count: number; wins: number } => {
    const own = leads.filter((_, i) => isRight(steps[i]?.label ?? Number.NaN) === right);
    return { count: own.length, wins: own.reduce((total, lead) => total + winOf(lead), 0) };
  };
  const [right, wrong] = [winsOf(true), winsOf(false)];
  const balancedAccuracy = (right.wins / right.count + wrong.wins / wrong.count) / 2;
  const missed = wrong.count - wrong.wins + right.count - right.wins;
  return {
    ...leadReport(leads),
    loss: steps.reduce((total, step) => total + stepLoss(step), 0) / Math.max(1, steps.length),
    rightShare: right.count / Math.max(1, steps.length),
    ...(right.count === 0 ? {} : { accuracyRight: right.wins / right.count }),
    ...(wrong.count === 0 ? {} : { accuracyWrong: wrong.wins / wrong.count }),
    ...(right.count === 0 || wrong.count === 0 ? {} : { balancedAccuracy }),
    f1Wrong: wrong.wins === 0 ? 0 : (2 * wrong.wins) / (2 * wrong.wins + missed),
  };
}
