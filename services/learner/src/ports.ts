/**
 * What the learner needs of the world, as small interfaces: the composition root wires real parts to them, tests wire
 * hand-driven ones. Nothing here says how anything is done.
 */
import type { MetricsRecord, SampleRecord } from "@oarlock/report";
import type { Alarm, PolicyVersion } from "@oarlock/run";
import type { ResolvedUntil } from "@oarlock/runfile";
import type { StageArtifact } from "@oarlock/checkpoint";
import type { Trainer } from "@oarlock/training";
import type { Unscored } from "./unscored.ts";

export type { Preferences, PromptRow, RunData, StepLabels, TokenizedRanking } from "@oarlock/workload";

/** `both`: a policy with a value head on its trunk. */
export type ScoreHead = "score" | "both";

/** Where models other than the policy in training come from, and where finished ones go. */
export interface ModelPorts {
  /** The run's own model, as it was before the first stage. */
  initialWeights(): Promise<Float32Array>;
  /** A trainer of a model that gives scores, or log-probs and scores, and starts from these weights. */
  openScoreTrainer(weights: Float32Array, head: ScoreHead): Promise<Trainer>;
  /** Durable when it resolves. */
  save(artifact: StageArtifact, weights: Float32Array, signal: AbortSignal): Promise<void>;
  load(artifact: StageArtifact, signal: AbortSignal): Promise<Float32Array>;
  /**
   * A reward model from a folder or the hub, of the shape of the one that rewards name `of`. Throws `REWARD_MODEL_INVALID` where it
   * is none.
   */
  read(
    model: { readonly source: string; readonly of: string },
    signal: AbortSignal,
  ): Promise<{ readonly weights: Float32Array; readonly digest: string }>;
  /** Keeps a reward model under its digest. Durable when it resolves. */
  keep(artifact: StageArtifact, weights: Float32Array, signal: AbortSignal): Promise<void>;
  /**
   * Makes these versions of a reward model, in the order of their numbers, available to scorers, and no others; the same again
   * changes nothing. `from` is its reference, as rewards name it.
   */
  announce(from: string, versions: readonly AnnouncedModel[], signal: AbortSignal): Promise<void>;
}

/** A version of a reward model. */
export interface AnnouncedModel {
  readonly number: number;
  /** SHA-256 (hex) of the weights. */
  readonly digest: string;
  weights(): Promise<Float32Array>;
}

/** The run's written record. Appends in order; a process that dies loses no line that it acknowledged. */
export interface RunJournal {
  metrics(record: MetricsRecord): Promise<void>;
  samples(records: readonly SampleRecord[]): Promise<void>;
  /** When it resolves, a host that loses power loses none either: a checkpoint counts on what was written before it (T3). */
  sync(): Promise<void>;
}

/** What the learner says while it runs, for progress lines and reports. */
export type LearnerEvent =
  | { readonly type: "stage"; readonly stage: string; readonly index: number; readonly steps: number }
  /** A stage that an earlier run finished is not run again. */
  | { readonly type: "kept"; readonly stage: string; readonly steps: number; readonly digest: string }
  | ({ readonly type: "step"; readonly steps: number; readonly policy: PolicyVersion } & MetricsRecord)
  | ({ readonly type: "evaluation" } & EvaluationRecord)
  /** An evaluation gave what ends the stage. */
  | ({ readonly type: "reached"; readonly stage: string; readonly step: number } & UntilScore)
  /** None did: the stage has ended with its last step. */
  | ({ readonly type: "missed"; readonly stage: string; readonly step: number } & UntilScore)
  | ({ readonly type: "alarm"; readonly stage: string; readonly step: number } & Alarm)
  /** From a step on, counted from 1, a scorer has another version. */
  | {
      readonly type: "scorer";
      readonly scorer: string;
      readonly version: string;
      readonly stage: string;
      readonly step: number;
    }
  | { readonly type: "checkpoint"; readonly globalStep: number; readonly path: string }
  /** A checkpoint is damaged; the run continues from an older one. */
  | { readonly type: "skipped"; readonly path: string; readonly reason: string }
  /** Samples of a step or an evaluation that no scorer could judge. */
  | ({ readonly type: "unscored"; readonly stage: string; readonly step: number } & Unscored)
  | { readonly type: "stalled"; readonly message: string }
  | { readonly type: "rejected"; readonly stage: string; readonly step: number; readonly reason: string };

/** A score of an evaluation, and what was asked of it. */
export interface UntilScore extends ResolvedUntil {
  readonly value: number;
}

/** The outcome of one evaluation, at a pinned policy version. */
export interface EvaluationRecord {
  readonly stage: string;
  readonly when: "before" | "after" | "step";
  readonly step: number;
  readonly policy: PolicyVersion;
  readonly metrics: Readonly<Record<string, number>>;
}
