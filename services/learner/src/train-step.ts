/**
 * A training step of any stage. All end alike: a snapshot of the new policy with its digest (W1), published in the
 * background where someone will generate from it, and a line of metrics.
 */
import type { Trajectory } from "@oarlock/proto";
import { groupsDropped, isPolicyServed } from "@oarlock/run";
import type { Alarm, PolicyVersion } from "@oarlock/run";
import { correctionOf, referenceBy, rolloutsOf } from "@oarlock/runfile";
import type { ResolvedGrpo, ResolvedReward, ResolvedSft, ResolvedStage } from "@oarlock/runfile";
import type { StepResult } from "@oarlock/training";
import type { MetricsRecord } from "@oarlock/report";
import { traced } from "@oarlock/runtime";
import type { Span } from "@oarlock/runtime";
import { collectBatch } from "./collect-batch.ts";
import { nextPolicy, stageAt } from "./context.ts";
import type { LearnerParts, LearnerProgress } from "./context.ts";
import { publishCritic } from "./critic-versions.ts";
import { checkFirstUpdate } from "./first-update.ts";
import { assembleBatch, batchMoments, judgeSamples, meanSampleKl } from "./grpo-batch.ts";
import type { GrpoBatch, JudgedSample } from "./grpo-batch.ts";
import { checkStop, guardStep, raisedBeta } from "./guards.ts";
import { correctedRow, offPolicyMetrics, stalenessMetrics } from "./off-policy.ts";
import { batchMetrics, timingMetrics, updateMetrics } from "./metrics.ts";
import { namedValues } from "./named-values.ts";
import { dataOrder } from "./order.ts";
import { oldestServed } from "./plan.ts";
import { ppoStep } from "./ppo-step.ts";
import { rewardModelStep } from "./reward-model-stage.ts";
import { announceStage } from "./stage-borders.ts";
import { rolloutSamples } from "./samples.ts";
import type { RewardMoments } from "./reward-shaping.ts";
import { sampleReward } from "./sample-reward.ts";
import { grpoStepOptions, sftStepOptions } from "./step-options.ts";
import { linkGroups, outcomeAttributes, stepAttributes, tracedRecord, tracedUpdate } from "./step-traces.ts";
import { signalOf } from "./token-signals.ts";
import { checkScored, unscoredOf } from "./unscored.ts";
import type { Unscored } from "./unscored.ts";

type Numbers = Readonly<Record<string, number>>;

/** What a step made, before it is published and written down. */
interface StepOutcome {
  /** Undefined: nothing could be learned from. */
  readonly result: StepResult | undefined;
  readonly metrics: Numbers;
  readonly sampleLines: () => ReturnType<typeof rolloutSamples>;
  /** β of the next step, where a controller moves it. */
  readonly klCoefficient?: number;
  readonly rewardMoments?: RewardMoments | undefined;
  readonly unscored?: Unscored | undefined;
}

async function stepOf(parts: LearnerParts, progress: LearnerProgress, at: StepPlace): Promise<StepOutcome> {
  const stage = stageAt(parts.run, at.stage);
  switch (stage.type) {
    case "sft": {
      const outcome = await sftStep(parts, stage.sft, at);
      checkFirstUpdate(stage.name, at.step + 1, outcome.result);
      return outcome;
    }
    case "reward-model": {
      const outcome = await rewardModelStep(parts, stage, at);
      checkFirstUpdate(stage.name, at.step + 1, outcome.result);
      return { ...outcome, sampleLines: () => [] };
    }
    case "grpo":
      return grpoStep(parts, progress, { grpo: stage.grpo, at });
    case "ppo": {
      const onCollected = (groups: readonly (readonly Trajectory[])[]): void =>
        linkBatch(parts, at, { groups, rewards: stage.ppo.rewards });
      const outcome = await ppoStep(parts, progress, { ppo: stage.ppo, at, onCollected });
      const { policy, critic, groups, metrics, klCoefficient, rewardMoments } = outcome;
      const sampleLines = () => rolloutSamples(parts, { groups }, at);
      const trajectories = groups.map((group) => group.map(({ trajectory }) => trajectory));
      const all = { ...metrics, ...streamMetrics(parts, trajectories, at) };
      return {
        result: policy ?? critic,
        metrics: all,
        sampleLines,
        klCoefficient,
        rewardMoments,
        unscored: unscoredIn(groups),
      };
    }
  }
}

/** Where a step is, and its span. */
interface StepPlace {
  readonly stage: number;
  readonly step: number;
  readonly span: Span;
  /** The policy before the step. */
  readonly before: PolicyVersion;
}

/** Trains step `step` of stage `index`, in a trace of its own. Returns the progress after it. */
export function trainStep(
  parts: LearnerParts,
  progress: LearnerProgress,
  { stage, step }: { readonly stage: number; readonly step: number },
): Promise<LearnerProgress> {
  const attributes = stepAttributes(parts, { stage, step: step + 1 });
  return traced(parts.tracer, { name: "train step", parent: "none", attributes }, async (span) => {
    const before = progress.current.policy;
    const after = await stepUnder(parts, progress, { stage, step, span, before });
    span.set(outcomeAttributes(after.current.policy, after.metrics));
    return span.context === undefined ? after : { ...after, trace: span.context };
  });
}

async function stepUnder(
  parts: LearnerParts,
  progress: LearnerProgress,
  at: StepPlace,
): Promise<LearnerProgress> {
  const stage = stageAt(parts.run, at.stage);
  const startMs = parts.clock.monotonicMs();
  const outcome = await stepOf(parts, progress, at);
  const guarded = await guardStep(parts, progress, { stage, metrics: outcome.metrics });
  const trainedMs = parts.clock.monotonicMs();
  const { made, current } = await traced(parts.tracer, { name: "snapshot" }, () =>
    versionsOf(parts, progress, stage),
  );
  const policy = current.policy;
  const position = {
    ...progress.position,
    step: at.step + 1,
    policy: policy.number,
    ...(guarded.ended ? { ended: true } : {}),
  };
  const beta = outcome.klCoefficient ?? progress.klCoefficient;
  const after = {
    ...progress,
    position: guarded.ended ? { ...progress.position, ended: true } : progress.position,
    current,
    klCoefficient: beta === undefined ? undefined : raisedBeta(beta, guarded.betaFactor),
    rewardMoments: outcome.rewardMoments,
    guards: guarded.guards,
  };
  const critic = await publishCritic(parts, { position, current });
  handOver(parts, after, { stage, at, position, critic });
  const endMs = parts.clock.monotonicMs();
  const seconds = (endMs - startMs) / 1000;
  const tokens = outcome.metrics["perf/total_num_tokens"] ?? 0;
  const metrics = {
    ...outcome.metrics,
    ...guarded.metrics,
    "timing_s/update_weights": (endMs - trainedMs) / 1000,
    "timing_s/step": seconds,
    "perf/time_per_step": seconds,
    "perf/throughput": seconds > 0 ? tokens / seconds : 0,
    "training/global_step": policy.number,
  };
  await record(parts, { stage, at, policy: made, metrics, outcome, alarms: guarded.alarms });
  checkStop(stage, at.step + 1, guarded.alarms);
  checkScored(stage.name, at.step + 1, outcome.unscored);
  return { ...after, metrics };
}

/** The version that the step made, and the policy after it: a reward model's step leaves the policy's weights alone. */
async function versionsOf(
  parts: LearnerParts,
  progress: LearnerProgress,
  stage: ResolvedStage,
): Promise<{ readonly made: PolicyVersion; readonly current: LearnerProgress["current"] }> {
  if (stage.type === "reward-model") {
    const { digest } = await parts.scorer.get().policy();
    const { weights, policy } = progress.current;
    return {
      made: nextPolicy(progress, digest),
      current: { policy: nextPolicy(progress, policy.digest), weights },
    };
  }
  const { weights, digest } = await parts.trainer.policy();
  const made = nextPolicy(progress, digest);
  return { made, current: { policy: made, weights } };
}

/** Tells the conductor, and publishes the new version if anyone will generate from it, without waiting (W1). */
function handOver(
  parts: LearnerParts,
  progress: LearnerProgress,
  step: {
    readonly stage: ResolvedStage;
    readonly at: { readonly stage: number; readonly step: number };
    readonly position: LearnerProgress["position"];
    readonly critic: Awaited<ReturnType<typeof publishCritic>>;
  },
): void {
  const { rollouts, publication } = parts;
  const { stage, at, position, critic } = step;
  if (rolloutsOf(stage) !== undefined) {
    rollouts.dispatch({ type: "batch-used", batch: { purpose: "rollout", stage: at.stage, step: at.step } });
  }
  // T1: what was issued ahead of a stage that ends here is dropped when it comes, as late.
  if (position.ended === true) announceStage(parts, { ...progress, position }, []);
  if (!isPolicyServed(parts.program, position)) return;
  const { current, basePolicy } = progress;
  const published = publication.publish(current, { stage: at.stage, step: at.step + 1 });
  Promise.all([published, critic.visible]).then(
    () => rollouts.dispatch({ type: "published", policy: current.policy }),
    (reason: unknown) => rollouts.fail(reason),
  );
  const served = { basePolicy, trained: at.step + 1, current: current.policy.number };
  const oldest = oldestServed(parts.run, stage, served);
  publication.forget(oldest);
  parts.critics?.forget(oldest);
}

async function sftStep(
  parts: LearnerParts,
  sft: ResolvedSft,
  at: { readonly stage: number; readonly step: number },
): Promise<StepOutcome & { readonly result: StepResult }> {
  const rows = parts.data.demonstrations(at.stage);
  const { seed } = parts.run.spec;
  const order = dataOrder({ seed, stage: at.stage, count: rows.length, perStep: sft.batchSize });
  const batch = order.rowsOf(at.step).flatMap((index) => {
    const row = rows[index];
    return row === undefined ? [] : [row];
  });
  const startMs = parts.clock.monotonicMs();
  const options = sftStepOptions(sft, at.step);
  const result = await tracedUpdate(parts, "policy", () => parts.trainer.step(batch, options, parts.signal));
  const seconds = (parts.clock.monotonicMs() - startMs) / 1000;
  const metrics = {
    ...updateMetrics(result, options),
    "train/loss": result.sums.loss,
    "timing_s/update_actor": seconds,
    "perf/total_num_tokens": result.tokens.total,
    "training/epoch": order.epochOf(at.step + 1),
  };
  return { result, metrics, sampleLines: () => [] };
}

async function grpoStep(
  parts: LearnerParts,
  progress: LearnerProgress,
  { grpo: planned, at }: { readonly grpo: ResolvedGrpo; readonly at: StepPlace },
): Promise<StepOutcome> {
  const { clock, trainer, signal, tracer } = parts;
  // A guard may have raised it.
  const coefficient = progress.klCoefficient ?? planned.kl.coefficient;
  const grpo = { ...planned, kl: { ...planned.kl, coefficient } };
  const startMs = clock.monotonicMs();
  const trajectories = await collectBatch(parts, { purpose: "rollout", stage: at.stage, step: at.step });
  const collectedMs = clock.monotonicMs();
  linkBatch(parts, at, { groups: trajectories, rewards: grpo.rewards });
  const rewardMoments = batchMoments(progress.rewardMoments, trajectories, grpo);
  const sampled = judgeSamples(trajectories, grpo, rewardMoments);
  const { judged, ...proximal } = await proximalSamples(parts, grpo, sampled);
  const proximalMs = clock.monotonicMs();
  const references = await referenceLogprobs(parts, { grpo, at }, judged.flat());
  const referencedMs = clock.monotonicMs();
  const batch = await traced(tracer, { name: "advantages" }, () => assembleBatch(judged, grpo, references));
  const assembledMs = clock.monotonicMs();
  const options = grpoStepOptions(grpo, at.step, correctionOf(parts.run.spec.pipeline));
  // Nothing to learn from where every sample failed: the policy stays, and the step says so.
  const result =
    batch.trainedTokens === 0
      ? undefined
      : await tracedUpdate(parts, "policy", () => trainer.step(batch.rows, options, signal));
  const updatedMs = clock.monotonicMs();
  const metrics = {
    ...batchMetrics(batchNumbers(trajectories, batch, grpo.rewards)),
    ...(references === undefined ? {} : { "actor/kl_per_sample": meanSampleKl(batch.rows) }),
    ...(grpo.guards.length === 0 ? {} : { "actor/kl_coef": coefficient }),
    ...(result === undefined ? {} : updateMetrics(result, options)),
    ...proximal.metrics,
    ...streamMetrics(parts, trajectories, at),
    ...timingMetrics({
      gen: (collectedMs - startMs) / 1000,
      ref: (referencedMs - proximalMs) / 1000,
      adv: (assembledMs - referencedMs) / 1000,
      updateActor: (updatedMs - assembledMs) / 1000,
    }),
  };
  return {
    result,
    metrics,
    sampleLines: () => rolloutSamples(parts, batch, at),
    rewardMoments,
    unscored: unscoredIn(judged),
  };
}

const unscoredIn = (groups: readonly (readonly JudgedSample[])[]): Unscored | undefined =>
  unscoredOf(groups.flat().map(({ reward }) => reward));

/** In streaming mode, the samples with the learner's own log-probs and what the sampler's are worth. */
async function proximalSamples(
  { run, trainer, signal, clock, tracer }: LearnerParts,
  grpo: ResolvedGrpo,
  judged: JudgedSample[][],
): Promise<{ readonly judged: JudgedSample[][]; readonly metrics: Numbers }> {
  const correction = correctionOf(run.spec.pipeline);
  if (correction === undefined) return { judged, metrics: {} };
  const startMs = clock.monotonicMs();
  const { microBatchSize, sampling } = grpo;
  const rows = judged.flat().map(({ row }) => row);
  // As the step will take them: its first ratio is exactly 1.
  const options = { microBatchSize, temperature: sampling.temperature, trainedOnly: true };
  const logprobs = await traced(tracer, { name: "proximal logprobs" }, () =>
    trainer.logprobs(rows, "policy", options, signal),
  );
  const proximal = rows.map((row, i) => ({
    row,
    logprobs: logprobs[i] ?? new Float32Array(row.tokens.length),
  }));
  const corrected = proximal.map((one) => correctedRow(one, correction));
  let flat = 0;
  return {
    judged: judged.map((group) =>
      group.map((sample) => ({ ...sample, row: corrected[flat++] ?? sample.row })),
    ),
    metrics: {
      ...offPolicyMetrics(proximal, correction),
      "timing_s/old_log_prob": (clock.monotonicMs() - startMs) / 1000,
    },
  };
}

/** In streaming mode, how old the batch is. */
function streamMetrics(
  { run, rollouts }: Pick<LearnerParts, "run" | "rollouts">,
  groups: readonly (readonly Trajectory[])[],
  at: Pick<StepPlace, "before">,
): Numbers {
  if (run.spec.pipeline.mode !== "streaming") return {};
  const droppedGroups = groupsDropped(rollouts.state().ledger);
  return stalenessMetrics(groups, { policyNumber: at.before.number, droppedGroups });
}

/** Ties the groups of the step's batch to its span. */
function linkBatch(
  parts: LearnerParts,
  at: StepPlace,
  collected: {
    readonly groups: readonly (readonly Trajectory[])[];
    readonly rewards: readonly ResolvedReward[];
  },
): void {
  const { groups, rewards } = collected;
  const batch = { purpose: "rollout", stage: at.stage, step: at.step } as const;
  const rewardOf = (trajectory: Trajectory): number | undefined => sampleReward(trajectory, rewards).total;
  linkGroups(parts, at.span, { batch, groups, rewardOf, policyNumber: at.before.number });
}

/** Of every sample in order, if the plan has a KL term: computed here, or by the actor that sent it. */
async function referenceLogprobs(
  parts: LearnerParts,
  { grpo, at }: { readonly grpo: ResolvedGrpo; readonly at: StepPlace },
  samples: readonly JudgedSample[],
): Promise<Float32Array[] | undefined> {
  const by = referenceBy(parts.run.spec.stages[at.stage]);
  if (by === undefined) return undefined;
  if (by === "actors") return samples.map(({ trajectory }) => signalOf(trajectory, "reference log-probs"));
  const options = { microBatchSize: grpo.microBatchSize, temperature: grpo.sampling.temperature };
  const rows = samples.map(({ row }) => row);
  return traced(parts.tracer, { name: "reference logprobs" }, () =>
    parts.trainer.logprobs(rows, "reference", options, parts.signal),
  );
}

function batchNumbers(
  trajectories: readonly (readonly Trajectory[])[],
  batch: GrpoBatch,
  rewards: readonly ResolvedReward[],
): Parameters<typeof batchMetrics>[0] {
  const scores = batch.groups.map((group) => group.map(({ reward }) => reward.total));
  return {
    trajectories,
    scores,
    rewards: batch.rewards,
    advantages: batch.advantages,
    named: namedValues(batch.groups, rewards),
  };
}

async function record(
  parts: LearnerParts,
  step: {
    readonly stage: ResolvedStage;
    readonly at: { readonly stage: number; readonly step: number };
    readonly policy: PolicyVersion;
    readonly metrics: Numbers;
    readonly outcome: StepOutcome;
    readonly alarms: readonly Alarm[];
  },
): Promise<void> {
  const { stage, at, policy, metrics, outcome, alarms } = step;
  const line: MetricsRecord = {
    kind: "step",
    stage: stage.name,
    step: at.step + 1,
    globalStep: policy.number,
    policyVersion: policy.number,
    policyDigest: policy.digest,
    timeMs: parts.clock.nowMs(),
    metrics,
    ...(alarms.length === 0 ? {} : { alarms }),
    ...tracedRecord(),
  };
  parts.recorders.step(metrics);
  await parts.journal.metrics(line);
  await parts.journal.samples(outcome.sampleLines());
  const steps = parts.program.stages[at.stage]?.steps ?? 0;
  parts.onEvent({ type: "step", ...line, steps, policy });
  for (const alarm of alarms)
    parts.onEvent({ type: "alarm", stage: stage.name, step: at.step + 1, ...alarm });
  if (outcome.unscored !== undefined)
    parts.onEvent({ type: "unscored", stage: stage.name, step: at.step + 1, ...outcome.unscored });
  if (outcome.result?.applied !== true) {
    const reason =
      outcome.result === undefined
        ? "no sample of the batch could be scored"
        : `the update was not finite (gradient norm ${outcome.result.gradNorm}); parameters and moments are unchanged`;
    parts.onEvent({ type: "rejected", stage: stage.name, step: at.step + 1, reason });
  }
}
