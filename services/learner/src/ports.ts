/**
 * What the learner needs of the world, as small interfaces: the composition root wires real parts to them, tests wire
 * hand-driven ones. Nothing here says how anything is done.
 */
import type { MetricsRecord, SampleRecord } from "@oarlock/report";
import type { PolicyVersion } from "@oarlock/run";

export type { PromptRow, RunData } from "@oarlock/workload";

/** The run's written record. Appends in order; never loses a line that it acknowledged. */
export interface RunJournal {
  metrics(record: MetricsRecord): Promise<void>;
  samples(records: readonly SampleRecord[]): Promise<void>;
}

/** What the learner says while it runs, for progress lines and reports. */
export type LearnerEvent =
  | { readonly type: "stage"; readonly stage: string; readonly index: number; readonly steps: number }
  | ({ readonly type: "step"; readonly steps: number; readonly policy: PolicyVersion } & MetricsRecord)
  | ({ readonly type: "evaluation" } & EvaluationRecord)
  | { readonly type: "checkpoint"; readonly globalStep: number; readonly path: string }
  | { readonly type: "stalled"; readonly message: string }
  | { readonly type: "rejected"; readonly stage: string; readonly step: number; readonly reason: string };

/** The outcome of one evaluation, at a pinned policy version. */
export interface EvaluationRecord {
  readonly stage: string;
  readonly when: "before" | "after" | "step";
  readonly step: number;
  readonly policy: PolicyVersion;
  readonly metrics: Readonly<Record<string, number>>;
}
