/** One evaluation of a policy outside a run: every held-out prompt, sampled and greedy, scored, as numbers. */
import { evaluationMetrics, whyFailed } from "@oarlock/learner";
import type { Completion } from "@oarlock/generation";
import type { ResolvedEvaluation } from "@oarlock/runfile";
import { openData, type ScorerSet } from "@oarlock/workload";
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

/** The metrics of an evaluation, by verl's names. */
export async function evaluate(policy: Policy, options: EvaluateOptions): Promise<Record<string, number>> {
  const { evaluation, baseDir, signal, onProgress } = options;
  const dataset = await openData(evaluation.data, { baseDir, signal });
  const rows = dataset.rows
    .map((row) => ({ row, prompt: promptTokens(row.prompt, renderingOf(evaluation.data), policy.tokenizer) }))
    .filter(({ prompt }) => prompt.tokens.length <= evaluation.maxPromptLength);
  let done = 0;
  const prompts = await Promise.all(
    rows.map(async ({ row, prompt }, group) => {
      const fields = row.answer === undefined ? row.fields : { answer: row.answer, ...row.fields };
      const scored = await scorePrompt({ policy, prompt, fields, group, ...options });
      onProgress(++done, rows.length);
      return scored;
    }),
  );
  const { samples, metric, passThreshold } = evaluation;
  return evaluationMetrics(prompts, { task: dataset.name, reward: metric, samples, passThreshold });
}

interface ScoredPrompt extends EvaluateOptions {
  readonly policy: Policy;
  readonly prompt: TokenizedPrompt;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly group: number;
}

async function scorePrompt(
  of: ScoredPrompt,
): Promise<{ scores: (number | undefined)[]; greedy?: number | undefined }> {
  const { policy, evaluation, prompt, group, seed, place, signal } = of;
  const { temperature, topK, topP, maxNewTokens, samples } = evaluation;
  const draw = { prompt: prompt.tokens, seed, ...place, group, purpose: "evaluation" as const };
  const sampled = await policy.complete(
    { ...draw, params: { temperature, topK, topP, maxNewTokens }, samples },
    signal,
  );
  const scores = await score(of, sampled);
  if (!evaluation.greedy) return { scores };
  const params = { temperature: 0, topK: 0, topP: 1, maxNewTokens };
  const [greedy] = await score(of, await policy.complete({ ...draw, params, samples: 1 }, signal));
  return { scores, greedy };
}

/** The metric's value per completion; undefined where the sample failed (S1), as in a run. */
async function score(
  { policy, scorers, prompt, fields, evaluation, signal }: ScoredPrompt,
  completions: readonly Completion[],
): Promise<(number | undefined)[]> {
  const inputs = completions.map((completion) => ({
    prompt: prompt.text,
    completion: policy.textOf(completion),
    completionTokens: completion.tokens.length,
    fields,
    truncated: completion.finishReason === "length",
    tokens: Int32Array.from([...prompt.tokens, ...completion.tokens]),
  }));
  const verdicts = await scorers.score(inputs, { signal });
  const { rewards, metric } = evaluation;
  const index = rewards.findIndex(({ name }) => name === metric);
  return verdicts.map((of) => {
    const failures = rewards.flatMap(({ name }, i) => {
      const verdict = of[i];
      return verdict?.type === "scored" ? [] : [[name, verdict?.reason ?? "no verdict"] as const];
    });
    const verdict = of[index];
    const failed = whyFailed(rewards, new Map(failures)) !== undefined;
    return !failed && verdict?.type === "scored" ? verdict.value : undefined;
  });
}
