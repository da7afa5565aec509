/**
 * Names and reading of evaluation metrics: `val-core/<source>/<reward>/<statistic>` with `/ci_low` and `/ci_high`.
 *
 * Statistics are `mean@k` (mean reward), `pass@k` (some sample of k passes) and `greedy`. Computes nothing.
 */

/** One statistic of an evaluation with its 95 % confidence interval. */
export interface EvaluationValue {
  /** E.g. `val-core/addition/answer/mean@4`. */
  readonly name: string;
  /** E.g. `addition/answer`. */
  readonly subject: string;
  /** E.g. `mean@4`. */
  readonly statistic: string;
  readonly value: number;
  readonly low?: number;
  readonly high?: number;
}

const PREFIX = "val-core/";
const BOUND = /\/ci_(low|high)$/;

/** The statistics among metrics, in the order given. */
export function evaluationValues(metrics: Readonly<Record<string, number>>): EvaluationValue[] {
  return Object.entries(metrics)
    .filter(([name]) => name.startsWith(PREFIX) && !BOUND.test(name))
    .map(([name, value]) => {
      const parts = name.slice(PREFIX.length).split("/");
      const [low, high] = [metrics[`${name}/ci_low`], metrics[`${name}/ci_high`]];
      return {
        name,
        subject: parts.slice(0, -1).join("/"),
        statistic: parts.at(-1) ?? "",
        value,
        ...(low === undefined ? {} : { low }),
        ...(high === undefined ? {} : { high }),
      };
    });
}
