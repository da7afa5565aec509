/**
 * What spans say of a training step or an evaluation, and how it is linked with the groups it used: every group links to
 * it, it links to every group. Reads results; decides nothing.
 */
import type { Trajectory } from "@oarlock/proto";
import type { BatchName } from "@oarlock/run";
import { currentTrace, isSampled, traced } from "@oarlock/runtime";
import type { Attributes, Span, Tracer } from "@oarlock/runtime";
import { policyAttributes } from "@oarlock/telemetry";
import type { StepResult } from "@oarlock/training";
import { stageAt } from "./context.ts";
import { groupStaleness } from "./off-policy.ts";
import type { LearnerParts } from "./context.ts";

/** The trace id of a record that is written now, where somebody will see the trace. */
export function tracedRecord(): { readonly traceId?: string } {
  const trace = currentTrace();
  return isSampled(trace) ? { traceId: trace.traceId } : {};
}

/** Where in the run; `step` as people count, from 1 in a stage. */
export function stepAttributes(
  { run, uid }: Pick<LearnerParts, "run" | "uid">,
  at: { readonly stage: number; readonly step: number },
): Attributes {
  return {
    "rl.run.uid": uid,
    "rl.stage": at.stage,
    "rl.stage.name": stageAt(run, at.stage).name,
    "rl.train.step": at.step,
  };
}

/** The groups of a batch, `[group][sample]`, and how their samples were judged. */
export interface UsedBatch {
  readonly batch: BatchName;
  readonly groups: readonly (readonly Trajectory[])[];
  readonly rewardOf: (trajectory: Trajectory) => number | undefined;
  /** Of the policy that is trained or evaluated now. */
  readonly policyNumber: number;
}

/** Links a step or an evaluation with its groups, both ways. */
export function linkGroups(
  { groupTraces, recorders, run, uid }: LearnerParts,
  span: Span,
  { batch, groups, rewardOf, policyNumber }: UsedBatch,
): void {
  const stalenessOf = (group: readonly Trajectory[]): number => groupStaleness(group, policyNumber);
  if (batch.purpose === "rollout") for (const group of groups) recorders.staleness(stalenessOf(group));
  const { context } = span;
  const step = batch.purpose === "rollout" ? batch.step + 1 : batch.step;
  const attributes = stepAttributes({ run, uid }, { stage: batch.stage, step });
  const ofGroup = (index: number): Attributes => {
    const group = groups[index] ?? [];
    const rewards = group.map(rewardOf).filter((reward) => reward !== undefined);
    const mean = rewards.reduce((sum, reward) => sum + reward, 0) / rewards.length;
    return {
      "rl.reward": rewards.length === 0 ? undefined : mean,
      "rl.sample.failed": group.length - rewards.length,
      "rl.policy.staleness": stalenessOf(group),
    };
  };
  const identities = groups.map(([first], index) => {
    const { purpose, stage } = batch;
    const { step: place = batch.step, group = index, draw = 0 } = first?.group ?? {};
    return { purpose, stage, step: place, group, draw };
  });
  for (const link of groupTraces.used(identities, { context, attributes, ofGroup })) span.link(link);
}

/** Metrics of a step that its span repeats, so that a trace is found by them. */
const TOLD: Readonly<Record<string, string>> = {
  "critic/score/mean": "rl.reward",
  "actor/loss": "rl.loss",
  "train/loss": "rl.loss",
  "actor/kl_loss": "rl.kl",
  "actor/reward_kl_penalty": "rl.kl",
  "actor/entropy": "rl.entropy",
  "actor/grad_norm": "rl.grad_norm",
  "actor/lr": "rl.learning_rate",
  "perf/total_num_tokens": "rl.tokens",
};

/** What a finished step says. */
export function outcomeAttributes(
  policy: { readonly number: number; readonly digest: string },
  metrics: Readonly<Record<string, number>>,
): Attributes {
  const told = Object.entries(TOLD).map(([metric, name]) => [name, metrics[metric]] as const);
  const known = told.filter(([, value]) => value !== undefined && Number.isFinite(value));
  return { ...policyAttributes(policy), ...Object.fromEntries(known) };
}

/** Whose weights an update changes. */
export type UpdatedModel = "policy" | "critic" | "reward-model";

const UPDATE_SPANS: { readonly [M in UpdatedModel]: string } = {
  policy: "update",
  critic: "update critic",
  "reward-model": "update reward model",
};

/** A trainer's work under its span, with what it says of its parts. */
export function tracedUpdate(
  { tracer, clock }: Pick<LearnerParts, "tracer" | "clock">,
  model: UpdatedModel,
  step: () => Promise<StepResult>,
): Promise<StepResult> {
  return traced(tracer, { name: UPDATE_SPANS[model] }, async (span) => {
    const result = await step();
    const { gradNorm, applied, tokens, optimizerStep } = result;
    span.set({
      "rl.grad_norm": gradNorm,
      "rl.applied": applied,
      "rl.tokens.trained": tokens.trained,
      "rl.tokens.computed": tokens.computed,
      "rl.optimizer.step": optimizerStep,
    });
    if (span.recording) updateSpans(tracer, result, clock.nowMs());
    return result;
  });
}

/** Adds `grad` and `apply` of every update, laid out backwards from the trainer's answer at `endMs`. */
function updateSpans(tracer: Tracer, result: StepResult, endMs: number): void {
  let atMs = endMs;
  for (const { gradNorm, applied, gradSeconds, applySeconds } of result.updates.toReversed()) {
    const applyMs = atMs - applySeconds * 1000;
    const gradMs = applyMs - gradSeconds * 1000;
    tracer
      .startSpan({ name: "grad", startMs: gradMs, attributes: { "rl.grad_norm": gradNorm } })
      .end(applyMs);
    tracer.startSpan({ name: "apply", startMs: applyMs, attributes: { "rl.applied": applied } }).end(atMs);
    atMs = gradMs;
  }
}
