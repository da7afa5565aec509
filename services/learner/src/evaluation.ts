/**
 * What an evaluation says: mean@k, pass@k and greedy scores with confidence intervals over prompts, by verl's names.
 * Pure: verdicts in, numbers out.
 */
import { estimateScore, estimateShare } from "@oarlock/rl";
import type { Estimate } from "@oarlock/rl";
import type { ResolvedUntil } from "@oarlock/runfile";
import type { UntilScore } from "./ports.ts";

/** Scores of one prompt's samples; a failed sample (S1) has none. */
export interface EvaluatedPrompt {
  readonly scores: readonly (number | undefined)[];
  /** Of the greedy completion, where the plan asks for one. */
  readonly greedy?: number | undefined;
}

export interface EvaluationNames {
  /** Data set, e.g. "addition". */
  readonly task: string;
  /** Reward that the numbers are about. */
  readonly reward: string;
  readonly samples: number;
  /** A sample passes when its score is at least this. */
  readonly passThreshold: number;
}

type ScoreNames = { readonly [Score in ResolvedUntil["score"]]: string };

/** What the scores are called. */
function scoreNames({ task, reward, samples }: EvaluationNames): ScoreNames {
  const prefix = `val-core/${task}/${reward}`;
  return { mean: `${prefix}/mean@${samples}`, pass: `${prefix}/pass@${samples}`, greedy: `${prefix}/greedy` };
}

/** The score that may end a stage; undefined where nothing was scored (S1). */
export function untilScore(
  metrics: Readonly<Record<string, number>>,
  names: EvaluationNames,
  { score, atLeast }: ResolvedUntil,
): UntilScore | undefined {
  const value = metrics[scoreNames(names)[score]];
  return value === undefined ? undefined : { score, value, atLeast };
}

function put(into: Record<string, number>, name: string, interval: Estimate): void {
  into[name] = interval.mean;
  into[`${name}/ci_low`] = interval.low;
  into[`${name}/ci_high`] = interval.high;
}

/** The metrics of an evaluation. Failed samples are left out and counted. */
export function evaluationMetrics(
  prompts: readonly EvaluatedPrompt[],
  names: EvaluationNames,
): Record<string, number> {
  const { mean: meanName, pass: passName, greedy: greedyName } = scoreNames(names);
  const metrics: Record<string, number> = {};
  const scored = prompts.map(({ scores }) => scores.filter((score) => score !== undefined));
  const answered = scored.filter((scores) => scores.length > 0);
  const passes = (score: number): boolean => score >= names.passThreshold;
  const mean = (scores: readonly number[]): number => scores.reduce((a, b) => a + b, 0) / scores.length;
  if (answered.length > 0) {
    const passed = answered.filter((scores) => scores.some(passes)).length;
    put(metrics, meanName, estimateScore(answered.map(mean)));
    put(metrics, passName, estimateShare(passed, answered.length));
  }
  const greedy = prompts.flatMap((prompt) => (prompt.greedy === undefined ? [] : [prompt.greedy]));
  if (greedy.length > 0) put(metrics, greedyName, estimateScore(greedy));
  const asked = prompts.reduce((sum, { scores }) => sum + scores.length, 0);
  const failed = asked - scored.reduce((sum, scores) => sum + scores.length, 0);
  metrics[`val-aux/${names.task}/failed_fraction`] = asked === 0 ? 0 : failed / asked;
  return metrics;
}
