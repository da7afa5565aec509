/**
 * A reward model in training: one step, the verdict of what is held out when it is done, and the gate that keeps a run from
 * going on with a model that does not know which answer people preferred, or which step is right.
 */
import { OarlockError } from "@oarlock/errors";
import type { ResolvedRewardModel, ResolvedStage } from "@oarlock/runfile";
import { traced } from "@oarlock/runtime";
import type { StepOptions, StepResult } from "@oarlock/training";
import { stageAt } from "./context.ts";
import type { LearnerParts, LearnerProgress } from "./context.ts";
import { dataOrder } from "./order.ts";
import type { EvaluationRecord } from "./ports.ts";
import {
  gateOf,
  heldOutName,
  type RewardExamples,
  rewardExamples,
  rewardObjective,
} from "./reward-examples.ts";
import { optimizerAt } from "./step-options.ts";
import { stepAttributes, tracedRecord, tracedUpdate } from "./step-traces.ts";

type Numbers = Readonly<Record<string, number>>;
type RewardModelStage = Extract<ResolvedStage, { type: "reward-model" }>;

/** Of one step (0-based). */
export function rewardModelOptions(plan: ResolvedRewardModel, step: number): StepOptions {
  return {
    objective: rewardObjective(plan),
    // Of pairs and rankings one token a row: both means are one. Of steps each weighs the same, however many an answer has.
    aggregation: plan.loss === "binary-cross-entropy" ? "token-mean-global" : "seq-mean-token-mean",
    optimizer: optimizerAt(plan.optimizer, step, plan.steps),
    microBatchSize: plan.answers * plan.microBatchSize,
  };
}

/** Trains one step on the next examples of the data's order. */
export async function rewardModelStep(
  parts: LearnerParts,
  stage: RewardModelStage,
  at: { readonly stage: number; readonly step: number },
): Promise<{ readonly result: StepResult; readonly metrics: Numbers }> {
  const plan = stage["reward-model"];
  const examples = rewardExamples(parts.data, { stage: at.stage, name: stage.name, plan });
  const { seed } = parts.run.spec;
  const order = dataOrder({ seed, stage: at.stage, count: examples.count, perStep: plan.batchSize });
  const rows = order.rowsOf(at.step).flatMap((index) => examples.rowsOf(index));
  const options = rewardModelOptions(plan, at.step);
  const startMs = parts.clock.monotonicMs();
  const result = await tracedUpdate(parts, "reward-model", () =>
    parts.scorer.get().step(rows, options, parts.signal),
  );
  const { sums, gradNorm, applied, tokens } = result;
  const metrics = {
    "train/loss": sums.loss,
    "reward_model/loss": sums.loss,
    "reward_model/accuracy": sums.accuracy,
    "reward_model/margin": sums.lead,
    "reward_model/score": sums.score,
    "reward_model/grad_norm": gradNorm,
    "reward_model/lr": options.optimizer.learningRate,
    "reward_model/update_rejected": applied ? 0 : 1,
    "perf/padding_fraction": 1 - tokens.total / Math.max(1, tokens.computed),
    "perf/total_num_tokens": tokens.total,
    "timing_s/update_reward_model": (parts.clock.monotonicMs() - startMs) / 1000,
    "training/epoch": order.epochOf(at.step + 1),
  };
  return { result, metrics };
}

/** Scores what is held out, in a trace of its own. Returns the progress with the record added, where anything is. */
export async function evaluateRewardModel(
  parts: LearnerParts,
  progress: LearnerProgress,
  at: { readonly stage: number; readonly step: number },
): Promise<LearnerProgress> {
  const stage = stageAt(parts.run, at.stage);
  if (stage.type !== "reward-model") return progress;
  const plan = stage["reward-model"];
  const examples = rewardExamples(parts.data, { stage: at.stage, name: stage.name, plan });
  if (examples.heldOutRows().length === 0) return progress;
  const attributes = { ...stepAttributes(parts, at), "rl.evaluation.when": "after" };
  return traced(parts.tracer, { name: "evaluation", parent: "none", attributes }, async (span) => {
    const after = await evaluateUnder(parts, progress, { stage, step: at.step, examples });
    const accuracy = after.evaluations.at(-1)?.metrics[heldOutName(stage.name, "accuracy")];
    span.set({ "rl.reward_model.accuracy": accuracy });
    return after;
  });
}

interface HeldOut {
  readonly stage: RewardModelStage;
  readonly step: number;
  readonly examples: RewardExamples;
}

async function evaluateUnder(
  parts: LearnerParts,
  progress: LearnerProgress,
  { stage, step, examples }: HeldOut,
): Promise<LearnerProgress> {
  const startMs = parts.clock.monotonicMs();
  const scorer = parts.scorer.get();
  const { microBatchSize } = rewardModelOptions(stage["reward-model"], 0);
  const found = await traced(parts.tracer, { name: "score pairs" }, () =>
    scorer.scores(examples.heldOutRows(), { microBatchSize, trainedOnly: true }, parts.signal),
  );
  const metrics = {
    ...examples.report(found),
    "timing_s/testing": (parts.clock.monotonicMs() - startMs) / 1000,
  };
  const { number } = progress.current.policy;
  const policy = { number, digest: (await scorer.policy()).digest };
  const record: EvaluationRecord = { stage: stage.name, when: "after", step, policy, metrics };
  await parts.journal.metrics({
    kind: "evaluation",
    when: "after",
    stage: stage.name,
    step,
    globalStep: number,
    policyVersion: number,
    policyDigest: policy.digest,
    timeMs: parts.clock.nowMs(),
    metrics,
    ...tracedRecord(),
  });
  parts.onEvent({ type: "evaluation", ...record });
  return { ...progress, evaluations: [...progress.evaluations, record] };
}

/** What the gates of finished reward models looked at, by its name. */
export function verdictsOf(evaluations: readonly EvaluationRecord[]): Numbers {
  const found = evaluations.flatMap(({ stage, metrics }) => {
    const names = ["balanced_accuracy", "accuracy"].map((statistic) => heldOutName(stage, statistic));
    return names.flatMap((name) => (metrics[name] === undefined ? [] : [[name, metrics[name]]])).slice(0, 1);
  });
  return Object.fromEntries(found);
}

/** Throws `GATE_NOT_PASSED` where the held-out accuracy is not what the plan asks for. */
export function checkGate(stage: RewardModelStage, evaluations: readonly EvaluationRecord[]): void {
  const { minimumAccuracy } = stage["reward-model"];
  if (minimumAccuracy === 0) return;
  const record = evaluations.findLast((one) => one.stage === stage.name && one.when === "after");
  const { statistic, passes, asked, unmeasured } = gateOf(stage["reward-model"]);
  const accuracy = record?.metrics[heldOutName(stage.name, statistic)];
  if (accuracy !== undefined && passes(accuracy, minimumAccuracy)) return;
  const found = accuracy === undefined ? unmeasured : `is ${accuracy.toFixed(4)}`;
  const wanted = accuracy === undefined ? "" : asked;
  throw new OarlockError(
    "GATE_NOT_PASSED",
    `stage ${stage.name}: the held-out ${statistic.replace("_", " ")} ${found}, minimumAccuracy is ${minimumAccuracy}${wanted}: the next stage does not start. ` +
      "Train longer, on more or cleaner rows, or lower stages." +
      `${stage.name}.reward-model.minimumAccuracy`,
  );
}
