/** What a local run is asked for and what it says. */
import type { Bus } from "@oarlock/bus";
import type { EvaluationRecord, LearnerEvent } from "@oarlock/learner";
import type { PolicyVersion } from "@oarlock/run";
import type { Clock, Environment, Log } from "@oarlock/runtime";

/** What happens while it runs, for progress lines. */
export type RunEvent = LearnerEvent | { readonly type: "warning"; readonly message: string };

export interface LocalRunOptions {
  /** The run folder; it exists. */
  readonly outDir: string;
  /** Folder that relative paths of the plan are relative to. */
  readonly baseDir: string;
  /** Identity of the run, kept across resumes; changes no bits. Default: a new one. */
  readonly uid?: string;
  /** Continues from the newest valid checkpoint in `outDir`. */
  readonly resume?: boolean;
  /** Aborting it drains the run to a checkpoint (Ctrl-C). */
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: RunEvent) => void;
  /** Default: a silent one. */
  readonly log?: Log;
  /** Says what telemetry is exported (OTEL_…, OARLOCK_METRICS_PORT). Default: the process's own. */
  readonly environment?: Environment;
  /** The bus as a service sees it, e.g. with delays: what tests of D1 put in between. Default: the bus itself. */
  readonly busFor?: (bus: Bus, service: string) => Bus;
  /** Default: the machine's. Tests of D1 put one that jumps. */
  readonly clock?: Clock;
}

export interface LocalRun {
  readonly uid: string;
  /** `host:port` of every gRPC server. */
  readonly addresses: {
    readonly learner: string;
    readonly actors: readonly string[];
    readonly reward: string;
    /** URL of `/metrics`, where it is served. */
    readonly metrics?: string;
  };
  /** Resolves also when the run was stopped by its signal; rejects where it failed. */
  readonly finished: Promise<RunOutcome>;
  /** Gives up at once, without a checkpoint: what a crash would do. */
  abandon(): Promise<void>;
}

export interface RunOutcome {
  readonly status: "completed" | "stopped";
  /** Training steps done, over all stages and incarnations. */
  readonly steps: number;
  /** Training seconds, over all incarnations. */
  readonly seconds: number;
  readonly policy: PolicyVersion;
  readonly finalMetrics: Readonly<Record<string, number>>;
  readonly evaluations: readonly EvaluationRecord[];
  /** Where a stopped run continues from. */
  readonly checkpoint?: string;
  /** The trained policy in Hugging Face layout, of a completed run. */
  readonly model?: string;
  /** How late the services' event loop answered, in milliseconds (P1). */
  readonly loopDelay: { readonly p50Ms: number; readonly p99Ms: number; readonly maxMs: number };
}
