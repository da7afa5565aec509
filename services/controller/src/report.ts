/** What a learner says of its run, in the words of the status. Pure; `learner-client.ts` asks. */
import type { RunPhaseName } from "@oarlock/run";
import type { RunSpec } from "@oarlock/runfile";
import type { Progress, RunStatus } from "./api.ts";

/** A learner's answer, or what it left when it ended. */
export interface LearnerReport {
  readonly phase: RunPhaseName;
  readonly message: string;
  /** Index of the stage that runs. */
  readonly stage: number;
  /** Finished steps of that stage. */
  readonly step: number;
  readonly policyVersion: number;
  readonly policyDigest: string;
  readonly remainingSeconds?: number;
  readonly metrics: Readonly<Record<string, number>>;
  readonly checkpointStep?: number;
  /** Of the newest step, where it is recorded. */
  readonly traceId?: string;
  /** Groups that no actor has answered yet. */
  readonly unansweredGroups?: number;
}

/** Steps of each stage. */
function stageSteps(spec: RunSpec): readonly number[] {
  return spec.stages.map((stage) => stage[stage.type]?.steps ?? 0);
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

/** How far the run is; the time stays while the step does. */
export function progressOf(
  spec: RunSpec,
  report: LearnerReport,
  before: Progress | undefined,
  time: string,
): Progress {
  const steps = stageSteps(spec);
  const totalSteps = sum(steps);
  const step = Math.min(totalSteps, sum(steps.slice(0, report.stage)) + report.step);
  const stage = spec.stages[report.stage]?.name;
  const moved = before?.step !== step;
  return {
    ...(stage === undefined ? {} : { stage }),
    step,
    totalSteps,
    percentage: totalSteps === 0 ? 0 : Math.floor((100 * step) / totalSteps),
    ...(report.remainingSeconds === undefined
      ? {}
      : { estimatedRemainingSeconds: Math.max(0, Math.round(report.remainingSeconds)) }),
    policyVersion: report.policyVersion,
    lastUpdatedTime: moved ? time : (before.lastUpdatedTime ?? time),
  };
}

/** Names of the status and the learner's own, the first that it knows. */
const METRICS: Readonly<Record<string, readonly string[]>> = {
  reward_mean: ["critic/score/mean", "critic/rewards/mean"],
  loss: ["actor/loss", "train/loss"],
  accuracy: ["reward_model/accuracy"],
  kl: ["actor/kl_loss", "actor/reward_kl_penalty", "actor/ppo_kl"],
  entropy: ["actor/entropy"],
  grad_norm: ["actor/grad_norm", "reward_model/grad_norm"],
  learning_rate: ["actor/lr", "reward_model/lr"],
  step_seconds: ["timing_s/step"],
};

/** What a reward model's gate looked at, by the stage's name; of steps it is the balanced one. */
const VERDICT = /^val-core\/held-out\/([^/]+)\/(?:balanced_)?accuracy$/;

/** Numbers of the latest step, and of finished reward models: as texts, since an API without floats has no better form. */
export function metricsOf({ metrics }: LearnerReport): NonNullable<RunStatus["metrics"]> {
  const latest = Object.entries(METRICS).map(
    ([name, names]) =>
      [name, names.map((candidate) => metrics[candidate]).find((found) => found !== undefined)] as const,
  );
  const verdicts = Object.entries(metrics).flatMap(([name, value]) => {
    const stage = VERDICT.exec(name)?.[1];
    return stage === undefined ? [] : [[`held_out_accuracy_${stage}`, value] as const];
  });
  return [...latest, ...new Map(verdicts)].flatMap(([name, value]) =>
    value === undefined || !Number.isFinite(value) ? [] : [{ name, value: decimal(value) }],
  );
}

/** Four significant digits, without an exponent where people write none. */
function decimal(value: number): string {
  return String(Number(value.toPrecision(4)));
}
