/**
 * What the learner's actions share: the plan, the parts they drive, and where the run stands. One object, made by
 * `learner.ts`; actions change `position` and `current` only through it.
 */
import type { CheckpointInfo, RunCheckpoints, StageArtifact } from "@oarlock/checkpoint";
import type { PolicyVersion, Position, Program } from "@oarlock/run";
import type { ResolvedRun, ResolvedStage } from "@oarlock/runfile";
import type { Clock, TraceContext, Tracer } from "@oarlock/runtime";
import type { Trainer } from "@oarlock/training";
import { OarlockError } from "@oarlock/errors";
import type { GroupTraces } from "./group-traces.ts";
import type { GuardProgress } from "./guards.ts";
import type { LearnerRecorders } from "./instruments.ts";
import type { KeptStages } from "./kept-stages.ts";
import type { EvaluationRecord, LearnerEvent, ModelPorts, RunData, RunJournal } from "./ports.ts";
import type { Publication, ServedPolicy } from "./publication.ts";
import type { Rollouts } from "./rollouts.ts";
import type { ScoreTrainer } from "./score-trainer.ts";
import type { ScorerVersions } from "./scorer-versions.ts";
import type { RewardMoments } from "./reward-shaping.ts";

/** Fixed for the life of a learner. */
export interface LearnerParts {
  readonly run: ResolvedRun;
  readonly program: Program;
  readonly uid: string;
  readonly trainer: Trainer;
  /** The critic or the reward model of the present stage, where it has one. */
  readonly scorer: ScoreTrainer;
  readonly models: ModelPorts;
  /** Which version of each scorer judges which work. */
  readonly versions: ScorerVersions;
  readonly data: RunData;
  readonly checkpoints: RunCheckpoints;
  readonly journal: RunJournal;
  /** Stages whose results are there already. */
  readonly kept: KeptStages;
  readonly rollouts: Rollouts;
  readonly publication: Publication;
  /** Of the critics, where actors compute values. */
  readonly critics: Publication | undefined;
  readonly onCheckpoint: (info: CheckpointInfo) => void;
  readonly onEvent: (event: LearnerEvent) => void;
  readonly tracer: Tracer;
  readonly groupTraces: GroupTraces;
  readonly recorders: LearnerRecorders;
  readonly clock: Clock;
  /** Aborts when the run is given up at once. */
  readonly signal: AbortSignal;
}

/** Where the run stands between two actions. */
export interface LearnerProgress {
  readonly position: Position;
  /** The policy at the position, with its weights. */
  readonly current: ServedPolicy;
  /** Number of the policy at the stage's start. */
  readonly basePolicy: number;
  readonly evaluations: readonly EvaluationRecord[];
  /** What finished stages made, by name. */
  readonly results: Readonly<Record<string, StageArtifact>>;
  /** β of the present stage, where a controller moves it. */
  readonly klCoefficient: number | undefined;
  /** Of the stage's scores so far, where a scorer is normalised. */
  readonly rewardMoments?: RewardMoments | undefined;
  /** Of the present stage, where it has guards. */
  readonly guards?: GuardProgress | undefined;
  /** Newest metrics by name. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Training seconds of earlier incarnations. */
  readonly earlierSeconds: number;
  /** `clock.monotonicMs()` at this incarnation's start. */
  readonly startedMs: number;
  /** Of the last step: what follows from it belongs to its trace. */
  readonly trace?: TraceContext;
}

/** The stage of `index`. */
export function stageAt(run: ResolvedRun, index: number): ResolvedStage {
  const stage = run.spec.stages[index];
  if (stage === undefined) throw new OarlockError("STAGE_UNKNOWN", `the plan has no stage ${index}`);
  return stage;
}

/** Seconds of training so far, over all incarnations. */
export function secondsOf(parts: LearnerParts, progress: LearnerProgress): number {
  return progress.earlierSeconds + (parts.clock.monotonicMs() - progress.startedMs) / 1000;
}

/** A policy after one more step. */
export function nextPolicy(progress: LearnerProgress, digest: string): PolicyVersion {
  return { number: progress.position.policy + 1, digest };
}
