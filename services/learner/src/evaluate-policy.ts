/**
 * One evaluation: every prompt of the evaluation data, at a pinned policy version, by the path that rollouts take; outside
 * the step time.
 */
import type { Trajectory } from "@oarlock/proto";
import { evaluationWindow } from "@oarlock/run";
import type { EvaluationMoment } from "@oarlock/run";
import { untilOf } from "@oarlock/runfile";
import type { ResolvedEvaluation } from "@oarlock/runfile";
import type { SampleRecord } from "@oarlock/report";
import { traced } from "@oarlock/runtime";
import type { Span } from "@oarlock/runtime";
import { policyAttributes } from "@oarlock/telemetry";
import { collectBatch } from "./collect-batch.ts";
import { stageAt } from "./context.ts";
import type { LearnerParts, LearnerProgress } from "./context.ts";
import { evaluationMetrics, untilScore } from "./evaluation.ts";
import type { EvaluatedPrompt } from "./evaluation.ts";
import { evaluationGroup, evaluationGroupSizes } from "./plan.ts";
import type { EvaluationRecord } from "./ports.ts";
import { sampleReward } from "./sample-reward.ts";
import type { SampleReward } from "./sample-reward.ts";
import { unscoredOf } from "./unscored.ts";
import { announceStage } from "./stage-borders.ts";
import { linkGroups, stepAttributes, tracedRecord } from "./step-traces.ts";
import { sampleRecord } from "./samples.ts";

/** Evaluated prompts whose completions are written down. */
const WRITTEN_PROMPTS = 32;

interface EvaluationPlace {
  readonly stage: number;
  readonly step: number;
  readonly when: EvaluationMoment;
}

/** Evaluates the current policy, in a trace of its own. Returns the progress with the record added. */
export async function evaluatePolicy(
  parts: LearnerParts,
  progress: LearnerProgress,
  at: EvaluationPlace,
): Promise<LearnerProgress> {
  const { evaluation } = parts.run.spec;
  if (evaluation === undefined) return progress;
  const attributes = {
    ...stepAttributes(parts, { stage: at.stage, step: at.step }),
    ...policyAttributes(progress.current.policy),
    "rl.evaluation.when": at.when,
  };
  return traced(parts.tracer, { name: "evaluation", parent: "none", attributes }, (span) =>
    evaluateUnder(parts, progress, { ...at, evaluation, span }),
  );
}

async function evaluateUnder(
  parts: LearnerParts,
  progress: LearnerProgress,
  at: EvaluationPlace & { readonly evaluation: ResolvedEvaluation; readonly span: Span },
): Promise<LearnerProgress> {
  const { evaluation, span } = at;
  const { clock, rollouts, publication, data } = parts;
  const startMs = clock.monotonicMs();
  const { policy } = progress.current;
  await publication.publish(progress.current, at);
  const batch = { purpose: "evaluation", stage: at.stage, step: at.step } as const;
  const groupSizes = evaluationGroupSizes(evaluation, data.evaluation.length);
  const window = evaluationWindow(parts.run);
  rollouts.dispatch({ type: "evaluation-began", step: at.step, policy, groupSizes, window });
  const groups = await collectBatch(parts, batch);
  const rewards: Rewards = new Map(
    groups.flat().map((trajectory) => [trajectory, sampleReward(trajectory, evaluation.rewards)]),
  );
  const rewardOf = (trajectory: Trajectory): number | undefined => rewards.get(trajectory)?.total;
  linkGroups(parts, span, { batch, groups, rewardOf, policyNumber: policy.number });
  rollouts.dispatch({ type: "batch-used", batch });
  const { metric: reward, samples, passThreshold } = evaluation;
  const names = { task: data.evaluationName, reward, samples, passThreshold };
  const metrics = {
    ...evaluationMetrics(evaluatedPrompts(evaluation, data.evaluation.length, { groups, rewards }), names),
    "timing_s/testing": (clock.monotonicMs() - startMs) / 1000,
  };
  const planned = stageAt(parts.run, at.stage);
  const stage = planned.name;
  const until = at.when === "before" ? undefined : untilOf(planned);
  const asked = until && untilScore(metrics, names, until);
  const isReached = asked !== undefined && asked.value >= asked.atLeast;
  const when = isReached ? "after" : at.when;
  const record: EvaluationRecord = { stage, when, step: at.step, policy, metrics };
  await parts.journal.metrics({
    kind: "evaluation",
    when,
    stage,
    step: at.step,
    globalStep: policy.number,
    policyVersion: policy.number,
    policyDigest: policy.digest,
    timeMs: clock.nowMs(),
    metrics,
    ...tracedRecord(),
  });
  await parts.journal.samples(evaluationSamples(parts, evaluation, record, { groups, rewards }));
  parts.onEvent({ type: "evaluation", ...record });
  const unscored = unscoredOf([...rewards.values()]);
  if (unscored !== undefined) parts.onEvent({ type: "unscored", stage, step: at.step, ...unscored });
  const after = { ...progress, evaluations: [...progress.evaluations, record] };
  if (asked !== undefined && when === "after")
    parts.onEvent({ type: isReached ? "reached" : "missed", stage, step: at.step, ...asked });
  if (!isReached || at.when === "after") return after;
  const ended = { ...after, position: { ...after.position, ended: true } };
  announceStage(parts, ended, []);
  return ended;
}

/** Of every sample of an evaluation. */
type Rewards = ReadonlyMap<Trajectory, SampleReward>;

interface Evaluated {
  readonly groups: readonly (readonly Trajectory[])[];
  readonly rewards: Rewards;
}

/** The value of the metric's reward per sample, by prompt. */
function evaluatedPrompts(
  evaluation: ResolvedEvaluation,
  prompts: number,
  { groups, rewards }: Evaluated,
): EvaluatedPrompt[] {
  const scoreOf = (trajectory: Trajectory | undefined): number | undefined => {
    const reward = trajectory && rewards.get(trajectory);
    return reward?.total === undefined ? undefined : (reward.named[evaluation.metric] ?? undefined);
  };
  return Array.from({ length: prompts }, (_, index): EvaluatedPrompt => {
    const scores = (groups[index] ?? []).map(scoreOf);
    const greedy = evaluation.greedy ? scoreOf(groups[prompts + index]?.[0]) : undefined;
    return greedy === undefined ? { scores } : { scores, greedy };
  });
}

function evaluationSamples(
  parts: LearnerParts,
  evaluation: ResolvedEvaluation,
  record: EvaluationRecord,
  { groups, rewards }: Evaluated,
): SampleRecord[] {
  const { evaluation: prompts } = parts.data;
  const { stage, step, when } = record;
  return groups.flatMap((group, g) => {
    const { promptIndex, greedy } = evaluationGroup(evaluation, prompts.length, g);
    const [trajectory] = group;
    const prompt = prompts[promptIndex];
    const reward = trajectory && rewards.get(trajectory);
    if (promptIndex >= WRITTEN_PROMPTS || trajectory === undefined || reward === undefined) return [];
    if (prompt === undefined) return [];
    const sample = { trajectory, reward, prompt, promptIndex, greedy };
    return [sampleRecord(parts, { kind: "evaluation", stage, step, when }, sample)];
  });
}
