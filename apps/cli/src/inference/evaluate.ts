/** One evaluation of a policy outside a run: every held-out prompt, sampled and greedy, scored, as numbers. */
import { evaluationMetrics, whyFailed } from "@oarlock/learner";
import { OarlockError } from "@oarlock/errors";
import type { Completion } from "@oarlock/generation";
import type { ResolvedEvaluation } from "@oarlock/runfile";
import { openData, scorerFields, type ScorerSet } from "@oarlock/workload";
import { promptTokens, renderingOf, type TokenizedPrompt } from "@oarlock/workload";
import type { Policy } from "./policy.ts";

/** Which evaluation of a run: the index of its stage, and how many steps of the stage were trained. */
export interface EvaluationPlace {
  readonly stage: number;
  readonly step: number;
}

export interface EvaluateOptions {
  readonly evaluation: ResolvedEvaluation;
  readonly scorers: ScorerSet;
  readonly baseDir: string;
  readonly seed: number;
  /** The evaluation of a run whose randomness is taken (D2): the same policy then gives the same numbers. */
  readonly place: EvaluationPlace;
  readonly signal: AbortSignal;
  /** Called after each prompt. */
  readonly onProgress: (done: number, total: number) => void;
}

export interface Evaluated {
  /** By verl's names. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Prompts that are too long, of how many. */
  readonly overlong: number;
  readonly prompts: number;
  /** Why completions could not be scored, in the order of their prompts. */
  readonly failures: readonly string[];
  readonly completions: number;
}

/**
 * Evaluates. Throws `DATA_EMPTY` where no prompt is short enough, `REWARDS_FAILED` where no completion could be scored: there
 * would be no number.
 */
export async function evaluate(policy: Policy, options: EvaluateOptions): Promise<Evaluated> {
  const { evaluation, baseDir, signal, onProgress } = options;
  const dataset = await openData(evaluation.data, { baseDir, signal });
  const rows = dataset.rows
    .map((row) => ({ row, prompt: promptTokens(row.prompt, renderingOf(evaluation.data), policy.tokenizer) }))
    .filter(({ prompt }) => prompt.tokens.length <= evaluation.maxPromptLength);
  const [overlong, longest] = [dataset.rows.length - rows.length, evaluation.maxPromptLength];
  if (rows.length === 0) {
    throw new OarlockError(
      "DATA_EMPTY",
      `none of the ${overlong} prompts of the evaluation has ${longest} tokens or fewer; accepted: another evaluation.maxPromptLength`,
    );
  }
  let done = 0;
  const prompts = await Promise.all(
    rows.map(async ({ row, prompt }, group) => {
      const scored = await scorePrompt({ policy, prompt, fields: scorerFields(row), group, ...options });
      onProgress(++done, rows.length);
      return scored;
    }),
  );
  const { samples, metric, passThreshold } = evaluation;
  const outcomes = prompts.flatMap(({ sampled, greedy }) => [...sampled, ...(greedy ?? [])]);
  const failures = outcomes.flatMap((outcome) => (typeof outcome === "string" ? [outcome] : []));
  if (failures.length === outcomes.length) {
    throw new OarlockError(
      "REWARDS_FAILED",
      `none of ${outcomes.length} completions could be scored; the first: ${failures[0]}`,
    );
  }
  const scores = prompts.map(({ sampled, greedy }) => ({
    scores: sampled.map(scoreOf),
    ...(greedy === undefined ? {} : { greedy: greedy.map(scoreOf)[0] }),
  }));
  return {
    metrics: evaluationMetrics(scores, { task: dataset.name, reward: metric, samples, passThreshold }),
    overlong,
    prompts: dataset.rows.length,
    failures,
    completions: outcomes.length,
  };
}

/** The metric's value of one completion, or why there is none (S1). */
type Outcome = number | string;

const scoreOf = (outcome: Outcome): number | undefined => (typeof outcome === "number" ? outcome : undefined);

interface ScoredPrompt extends EvaluateOptions {
  readonly policy: Policy;
  readonly prompt: TokenizedPrompt;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly group: number;
}

async function scorePrompt(
  of: ScoredPrompt,
): Promise<{ readonly sampled: readonly Outcome[]; readonly greedy?: readonly Outcome[] }> {
  const { policy, evaluation, prompt, group, seed, place, signal } = of;
  const { temperature, topK, topP, maxNewTokens, samples } = evaluation;
  const draw = { prompt: prompt.tokens, seed, ...place, group, purpose: "evaluation" as const };
  const completions = await policy.complete(
    { ...draw, params: { temperature, topK, topP, maxNewTokens }, samples },
    signal,
  );
  const sampled = await score(of, completions);
  if (!evaluation.greedy) return { sampled };
  const params = { temperature: 0, topK: 0, topP: 1, maxNewTokens };
  return { sampled, greedy: await score(of, await policy.complete({ ...draw, params, samples: 1 }, signal)) };
}

/** The outcome of each completion; a sample fails as in a run. */
async function score(
  { policy, scorers, prompt, fields, evaluation, signal }: ScoredPrompt,
  completions: readonly Completion[],
): Promise<readonly Outcome[]> {
  const inputs = completions.map((completion) => ({
    prompt: prompt.text,
    completion: policy.textOf(completion),
    completionTokens: completion.tokens.length,
    fields,
    truncated: completion.finishReason === "length",
    tokens: Int32Array.from([...prompt.tokens, ...completion.tokens]),
  }));
  const verdicts = await scorers.score(inputs, { signal });
  return verdicts.map((verdictsOf) => outcomeOf(verdictsOf, evaluation));
}

type Verdicts = Awaited<ReturnType<ScorerSet["score"]>>[number];

function outcomeOf(verdicts: Verdicts, { rewards, metric }: ResolvedEvaluation): Outcome {
  const failures = verdicts.flatMap((verdict, index) => {
    const { name } = rewards[index] ?? { name: "" };
    return verdict.type === "scored" ? [] : [[name, `${name}: ${verdict.code}: ${verdict.reason}`] as const];
  });
  const reasons = new Map(failures);
  const verdict = verdicts[rewards.findIndex(({ name }) => name === metric)];
  const value = verdict?.type === "scored" ? verdict.value : undefined;
  return whyFailed(rewards, reasons) ?? value ?? reasons.get(metric) ?? `${metric}: no verdict`;
}
