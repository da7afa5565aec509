/** The resolved run in the learner's terms: its program, its evaluation groups, its sampling. Pure. */
import type { Program, RolloutPlan } from "@oarlock/run";
import { blockOf, restartsPolicy, rolloutsOf } from "@oarlock/runfile";
import type { ResolvedEvaluation, ResolvedRun, ResolvedStage } from "@oarlock/runfile";

/** Versions that a stage makes, of the policy or of a reward model. */
export function stepsOf(stage: ResolvedStage): number {
  return blockOf(stage).steps;
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

/** What the conductor paces; undefined for a stage without rollouts. */
export function rolloutPlanOf(
  run: ResolvedRun,
  stage: ResolvedStage,
  basePolicy: number,
): RolloutPlan | undefined {
  const rollouts = rolloutsOf(stage);
  if (rollouts === undefined) return undefined;
  return {
    lag: run.spec.pipeline.lag,
    steps: rollouts.steps,
    basePolicy,
    groupsPerStep: rollouts.promptsPerStep,
    samplesPerGroup: rollouts.groupSize,
  };
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
