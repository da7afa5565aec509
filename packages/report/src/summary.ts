/** `summary.json`: what a run came to, folded from its records. Pure; the caller knows time and status. */
import type { AlarmRecord, MetricsRecord } from "./records.ts";

/** How a run ended. */
export type RunStatus = "completed" | "stopped" | "failed";

export interface PolicyIdentity {
  readonly version: number;
  /** SHA-256 of the weights. */
  readonly digest: string;
}

export interface EvaluationSummary {
  readonly step: number;
  readonly policy: PolicyIdentity;
  readonly metrics: Readonly<Record<string, number>>;
}

export interface StageSummary {
  readonly name: string;
  readonly steps: number;
  readonly seconds: number;
  /** Metrics of the stage's last step. */
  readonly finalMetrics: Readonly<Record<string, number>>;
  readonly before?: EvaluationSummary;
  readonly after?: EvaluationSummary;
}

/** A guard that fired, and where. */
export interface AlarmSummary extends AlarmRecord {
  readonly stage: string;
  readonly step: number;
}

/** The document `summary.json`; of a run that has not ended, what it came to so far. */
export interface RunSummary<Status extends string = RunStatus> {
  readonly name: string;
  readonly status: Status;
  /** Why a run stopped or failed. */
  readonly reason?: string;
  /** Digest of the resolved plan. */
  readonly planDigest: string;
  /** Policy versions made. */
  readonly steps: number;
  /** Wall-clock time of all sittings; of one that was killed until its last record. */
  readonly seconds: number;
  readonly policy: PolicyIdentity;
  /** Metrics of the last step. */
  readonly finalMetrics: Readonly<Record<string, number>>;
  readonly stages: readonly StageSummary[];
  /** Guards that fired, in order; absent where none did. */
  readonly alarms?: readonly AlarmSummary[];
  /** Whether another run of this plan gives the same bits (D1b), and why not. */
  readonly reproducible: boolean;
  readonly irreproducibleBecause?: string;
}

export interface SummaryInput<Status extends string = RunStatus> {
  readonly name: string;
  readonly status: Status;
  readonly reason?: string;
  readonly planDigest: string;
  readonly seconds: number;
  readonly stages: readonly string[];
  /** Stages that train a reward model: what they evaluate is no policy. */
  readonly rewardModels?: readonly string[];
  readonly records: readonly MetricsRecord[];
  readonly irreproducibleBecause?: string;
}

/** Folds the records of a run into its summary. */
export function summarize<Status extends string>(input: SummaryInput<Status>): RunSummary<Status> {
  const { records, name, status, reason, planDigest, seconds, irreproducibleBecause } = input;
  const steps = records.filter(({ kind }) => kind === "step");
  const alarms = steps.flatMap(({ stage, step, alarms: fired = [] }) =>
    fired.map((alarm): AlarmSummary => ({ stage, step, ...alarm })),
  );
  const last = steps.at(-1) ?? records.at(-1);
  return {
    name,
    status,
    ...(reason === undefined ? {} : { reason }),
    planDigest,
    steps: steps.length,
    seconds,
    policy: { version: last?.policyVersion ?? 0, digest: last?.policyDigest ?? "" },
    finalMetrics: last?.metrics ?? {},
    stages: summarizeStages(input),
    ...(alarms.length === 0 ? {} : { alarms }),
    reproducible: irreproducibleBecause === undefined,
    ...(irreproducibleBecause === undefined ? {} : { irreproducibleBecause }),
  };
}

/** A stage of the policy that was not evaluated at its start began with the policy that was evaluated last. */
function summarizeStages({
  stages,
  rewardModels = [],
  records,
}: Omit<SummaryInput, "status">): StageSummary[] {
  let latest: EvaluationSummary | undefined;
  return stages.map((name) => {
    const own = summarizeStage(
      name,
      records.filter((record) => record.stage === name),
    );
    if (rewardModels.includes(name)) return own;
    const inherited = latest === undefined ? {} : { before: { ...latest, step: 0 } };
    latest = own.after ?? latest;
    return { ...inherited, ...own };
  });
}

function summarizeStage(name: string, records: readonly MetricsRecord[]): StageSummary {
  const steps = records.filter(({ kind }) => kind === "step");
  const evaluation = (when: "before" | "after") => records.findLast((record) => record.when === when);
  const seconds = steps.reduce((sum, { metrics }) => sum + (metrics["timing_s/step"] ?? 0), 0);
  const [before, after] = [evaluation("before"), evaluation("after")];
  return {
    name,
    steps: steps.length,
    seconds,
    finalMetrics: steps.at(-1)?.metrics ?? {},
    ...(before === undefined ? {} : { before: evaluationSummary(before) }),
    ...(after === undefined ? {} : { after: evaluationSummary(after) }),
  };
}

function evaluationSummary({ step, policyVersion, policyDigest, metrics }: MetricsRecord): EvaluationSummary {
  return { step, policy: { version: policyVersion, digest: policyDigest }, metrics };
}

/** Mean and spread of one number over several seeds. */
export interface Spread {
  readonly mean: number;
  /** Sample standard deviation (n − 1); 0 for one value. */
  readonly standardDeviation: number;
  readonly least: number;
  readonly most: number;
  readonly count: number;
}

/** Mean, standard deviation and range; of nothing, NaN. */
export function spreadOf(values: readonly number[]): Spread {
  const count = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const standardDeviation = count > 1 ? Math.sqrt(squares / (count - 1)) : 0;
  return { mean, standardDeviation, least: Math.min(...values), most: Math.max(...values), count };
}
