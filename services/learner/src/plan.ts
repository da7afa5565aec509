/** The resolved run in the learner's terms: its program, its evaluation groups, its sampling. Pure. */
import { oldestPolicyNeeded } from "@oarlock/run";
import type { Position, Program, RolloutPlan, StreamPlan } from "@oarlock/run";
import { blockOf, restartsPolicy, rolloutsOf } from "@oarlock/runfile";
import type { ResolvedEvaluation, ResolvedRun, ResolvedStage } from "@oarlock/runfile";

/** Versions that a stage makes, of the policy or of a reward model. */
export function stepsOf(stage: ResolvedStage): number {
  return blockOf(stage).steps;
}

/** Steps of a stage with which nothing is left to do: all, where a guard or an evaluation has ended it. */
export function stepsDone(
  stage: ResolvedStage,
  { step, ended = false }: Pick<Position, "step" | "ended">,
): number {
  return ended ? stepsOf(stage) : step;
}

/** What the stage machine runs. */
export function programOf(run: ResolvedRun): Program {
  const { stages, evaluation, checkpoints } = run.spec;
  return {
    stages: stages.map((stage, index) => ({
      name: stage.name,
      type: stage.type,
      steps: stepsOf(stage),
      restarts: restartsPolicy(stages, index),
    })),
    ...(evaluation === undefined ? {} : { evaluation: { every: evaluation.every } }),
    checkpointEvery: checkpoints.every,
  };
}

/** What the conductor paces in lockstep; undefined for a stage without rollouts, and in streaming mode. */
export function rolloutPlanOf(
  run: ResolvedRun,
  stage: ResolvedStage,
  basePolicy: number,
): RolloutPlan | undefined {
  const { pipeline } = run.spec;
  const head = pacedOf(stage, basePolicy);
  return head === undefined || pipeline.mode !== "lockstep" ? undefined : { ...head, lag: pipeline.lag };
}

/** What the conductor paces in streaming mode; undefined for a stage without rollouts, and in lockstep. */
export function streamPlanOf(
  run: ResolvedRun,
  stage: ResolvedStage,
  basePolicy: number,
): StreamPlan | undefined {
  const { pipeline } = run.spec;
  const head = pacedOf(stage, basePolicy);
  if (head === undefined || pipeline.mode !== "streaming") return undefined;
  return { ...head, maxStaleness: pipeline.maxStaleness };
}

function pacedOf(stage: ResolvedStage, basePolicy: number): Omit<RolloutPlan, "lag"> | undefined {
  const rollouts = rolloutsOf(stage);
  if (rollouts === undefined) return undefined;
  const { steps, promptsPerStep, groupSize } = rollouts;
  return { steps, basePolicy, groupsPerStep: promptsPerStep, samplesPerGroup: groupSize };
}

/** Versions before the current one that actors in streaming mode may still be fetching. */
const FETCHED_VERSIONS = 1;

/** Number of the oldest policy that someone may still ask for when `trained` steps of the stage are done. */
export function oldestServed(
  run: ResolvedRun,
  stage: ResolvedStage,
  at: { readonly basePolicy: number; readonly trained: number; readonly current: number },
): number {
  const plan = rolloutPlanOf(run, stage, at.basePolicy);
  if (plan !== undefined) return oldestPolicyNeeded(plan, at.trained);
  return streamPlanOf(run, stage, at.basePolicy) === undefined ? at.current : at.current - FETCHED_VERSIONS;
}

/** How the samples of a piece of work are drawn. */
export interface SamplingPlan {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly maxNewTokens: number;
}

/** One group of an evaluation: prompt `promptIndex`, sampled or greedy. */
export interface EvaluationGroup {
  readonly promptIndex: number;
  readonly greedy: boolean;
  readonly samples: number;
}

/**
 * Group `group` of an evaluation over `prompts` rows: the sampled groups come first, then, if the plan asks for them,
 * one greedy group per prompt.
 */
export function evaluationGroup(
  evaluation: ResolvedEvaluation,
  prompts: number,
  group: number,
): EvaluationGroup {
  const greedy = group >= prompts;
  return { promptIndex: group % prompts, greedy, samples: greedy ? 1 : evaluation.samples };
}

/** Sizes of all groups of an evaluation, by group index. */
export function evaluationGroupSizes(evaluation: ResolvedEvaluation, prompts: number): number[] {
  const groups = evaluation.greedy ? 2 * prompts : prompts;
  return Array.from({ length: groups }, (_, group) => evaluationGroup(evaluation, prompts, group).samples);
}

/** How the samples of an evaluation group are drawn. */
export function evaluationSampling(evaluation: ResolvedEvaluation, greedy: boolean): SamplingPlan {
  const { topK, topP, maxNewTokens, temperature } = evaluation;
  return greedy
    ? { temperature: 0, topK: 0, topP: 1, maxNewTokens }
    : { temperature, topK, topP, maxNewTokens };
}
