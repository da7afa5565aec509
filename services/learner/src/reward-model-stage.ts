/**
 * A reward model in training: pairs into rows, one step, the verdict of held-out pairs when it is done, and the gate that
 * keeps a run from going on with a model that does not know which answer people preferred.
 */
import { OarlockError } from "@oarlock/errors";
import { pairReport } from "@oarlock/rl";
import type { PairReport, PairScores } from "@oarlock/rl";
import type { ResolvedRewardModel, ResolvedStage } from "@oarlock/runfile";
import { traced } from "@oarlock/runtime";
import { sequenceRow } from "@oarlock/training";
import type { StepOptions, StepResult, TrainingRow } from "@oarlock/training";
import { stageAt } from "./context.ts";
import type { LearnerParts, LearnerProgress } from "./context.ts";
import { dataOrder } from "./order.ts";
import type { EvaluationRecord, TokenizedRanking } from "./ports.ts";
import { optimizerAt } from "./step-options.ts";
import { stepAttributes, tracedRecord, tracedUpdate } from "./step-traces.ts";

type Numbers = Readonly<Record<string, number>>;
type RewardModelStage = Extract<ResolvedStage, { type: "reward-model" }>;

/** A ranking as rows of one forward pass, the best first; `margin` is that of a pair. */
export function rankingRows(ranking: TokenizedRanking, margin = 0): TrainingRow[] {
  return ranking.map((answer, place) => sequenceRow(answer, place === 0 ? margin : 0));
}

/** Of one step (0-based). */
export function rewardModelOptions(plan: ResolvedRewardModel, step: number): StepOptions {
  const { loss, answers, centering } = plan;
  return {
    objective: loss === "bradley-terry" ? { type: "pairs", centering } : { type: "ranking", loss, answers },
    aggregation: "seq-mean-token-mean",
    optimizer: optimizerAt(plan.optimizer, step, plan.steps),
    microBatchSize: answers * plan.microBatchSize,
  };
}

/** Every pair of a ranking, the better score first. */
function pairsOf(scores: readonly number[]): PairScores[] {
  return scores.flatMap((preferred, place) =>
    scores.slice(place + 1).map((rejected) => ({ preferred, rejected })),
  );
}

/** Trains one step on the next pairs of the data's order. */
export async function rewardModelStep(
  parts: LearnerParts,
  stage: RewardModelStage,
  at: { readonly stage: number; readonly step: number },
): Promise<{ readonly result: StepResult; readonly metrics: Numbers }> {
  const plan = stage["reward-model"];
  const { training } = parts.data.preferences(at.stage);
  const { seed } = parts.run.spec;
  const order = dataOrder({ seed, stage: at.stage, count: training.length, perStep: plan.batchSize });
  const rows = order.rowsOf(at.step).flatMap((index) => {
    const ranking = training[index];
    return ranking === undefined ? [] : rankingRows(ranking, plan.margin);
  });
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

const accuracyName = (stage: string): string => `val-core/held-out/${stage}/accuracy`;

/** Pairs that were scored, and rankings that were left out. */
interface Counts {
  readonly pairs: number;
  readonly overlong: number;
  readonly otherCount: number;
}

/** What held-out pairs say, as metrics: a bar of the histogram is named by where it begins. */
export function pairMetrics(
  stage: string,
  report: PairReport,
  { pairs, overlong, otherCount }: Counts,
): Numbers {
  const { accuracy, calibrationError, loss, meanLead, margins } = report;
  const name = accuracyName(stage);
  const bars = margins.map(({ from, count }) => [`val-aux/${stage}/margins/${from.toFixed(3)}`, count]);
  return {
    [name]: accuracy.mean,
    [`${name}/ci_low`]: accuracy.low,
    [`${name}/ci_high`]: accuracy.high,
    [`val-aux/${stage}/calibration_error`]: calibrationError,
    [`val-aux/${stage}/loss`]: loss,
    [`val-aux/${stage}/margin`]: meanLead,
    [`val-aux/${stage}/pairs`]: pairs,
    [`val-aux/${stage}/pairs_overlong`]: overlong,
    ...(otherCount === 0 ? {} : { [`val-aux/${stage}/rankings_of_other_counts`]: otherCount }),
    ...Object.fromEntries(bars),
  };
}

/** Scores the held-out pairs, in a trace of its own. Returns the progress with the record added. */
export function evaluateRewardModel(
  parts: LearnerParts,
  progress: LearnerProgress,
  at: { readonly stage: number; readonly step: number },
): Promise<LearnerProgress> {
  const attributes = { ...stepAttributes(parts, at), "rl.evaluation.when": "after" };
  return traced(parts.tracer, { name: "evaluation", parent: "none", attributes }, async (span) => {
    const after = await evaluateUnder(parts, progress, at);
    const accuracy = after.evaluations.at(-1)?.metrics[accuracyName(stageAt(parts.run, at.stage).name)];
    span.set({ "rl.reward_model.accuracy": accuracy });
    return after;
  });
}

async function evaluateUnder(
  parts: LearnerParts,
  progress: LearnerProgress,
  at: { readonly stage: number; readonly step: number },
): Promise<LearnerProgress> {
  const stage = stageAt(parts.run, at.stage);
  if (stage.type !== "reward-model") return progress;
  const { heldOut, overlong, otherCount } = parts.data.preferences(at.stage);
  const startMs = parts.clock.monotonicMs();
  const scorer = parts.scorer.get();
  const { microBatchSize } = rewardModelOptions(stage["reward-model"], 0);
  const { answers } = stage["reward-model"];
  const rows = heldOut.flatMap((ranking) => rankingRows(ranking));
  const found = await traced(parts.tracer, { name: "score pairs" }, () =>
    scorer.scores(rows, { microBatchSize, trainedOnly: true }, parts.signal),
  );
  const scores = found.map((row) => row.at(-1) ?? Number.NaN);
  const pairs = heldOut.flatMap((_, r) => pairsOf(scores.slice(answers * r, answers * (r + 1))));
  const metrics = {
    ...(pairs.length === 0
      ? {}
      : pairMetrics(stage.name, pairReport(pairs), { pairs: pairs.length, overlong, otherCount })),
    "timing_s/testing": (parts.clock.monotonicMs() - startMs) / 1000,
  };
  const { number } = progress.current.policy;
  const policy = { number, digest: (await scorer.policy()).digest };
  const record: EvaluationRecord = { stage: stage.name, when: "after", step: at.step, policy, metrics };
  await parts.journal.metrics({
    kind: "evaluation",
    when: "after",
    stage: stage.name,
    step: at.step,
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

/** Throws `GATE_NOT_PASSED` where the held-out accuracy is below what the plan asks for. */
export function checkGate(stage: RewardModelStage, evaluations: readonly EvaluationRecord[]): void {
  const { minimumAccuracy } = stage["reward-model"];
  if (minimumAccuracy === 0) return;
  const record = evaluations.findLast((one) => one.stage === stage.name && one.when === "after");
  const accuracy = record?.metrics[accuracyName(stage.name)];
  if (accuracy !== undefined && accuracy >= minimumAccuracy) return;
  const found = accuracy === undefined ? "was not measured" : `is ${accuracy.toFixed(4)}`;
  throw new OarlockError(
    "GATE_NOT_PASSED",
    `stage ${stage.name}: the held-out accuracy ${found}, minimumAccuracy is ${minimumAccuracy}: the next stage does not start. ` +
      "Train longer, on more or cleaner pairs, or lower stages." +
      `${stage.name}.reward-model.minimumAccuracy`,
  );
}
