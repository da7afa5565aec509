/** Rewards that another process or several models give, and what is done with a score: as written and as resolved. */
import type { EnsembleCombination, ModelScoreScope, RewardNormalization, ScoreScope } from "./vocabulary.ts";

/** Certificates of calls to a scorer: PEM files, relative to the run file. */
export interface ServiceTlsSpec {
  readonly caFile?: string | undefined;
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
  readonly serverName?: string | undefined;
}

/** How a scorer of another process is called. */
export interface ServiceSpec {
  readonly tokenEnv?: string | undefined;
  readonly tokenFile?: string | undefined;
  readonly tls?: ServiceTlsSpec | undefined;
  readonly scope?: ScoreScope | undefined;
  /** Where a cluster's reward pods get that variable from; no part of the plan. */
  readonly tokenSecretRef?: { readonly name: string; readonly key: string } | undefined;
  readonly version?: string | undefined;
  readonly deterministic?: boolean | undefined;
  readonly batchSize?: number | undefined;
  readonly batchWaitMs?: number | undefined;
  readonly concurrency?: number | undefined;
  readonly retryForMs?: number | undefined;
}

export interface HttpRewardSpec {
  readonly url: string;
}

export interface GrpcRewardSpec {
  readonly address: string;
  readonly scorer?: string | undefined;
  readonly tls?: boolean | undefined;
}

export interface JudgeRewardSpec {
  readonly url: string;
  readonly model: string;
  readonly rubric: string;
  readonly prompt?: string | undefined;
  readonly min?: number | undefined;
  readonly max?: number | undefined;
  readonly temperature?: number | undefined;
  readonly maxTokens?: number | undefined;
}

/** A reward model: of the run, `from: stage/<name>`, or from files, `from` a folder or `hf://…`. */
export interface ModelRewardSpec {
  readonly from: string;
  readonly scope?: ModelScoreScope | undefined;
  readonly stepEnd?: string | undefined;
}

export interface EnsembleRewardSpec {
  readonly from: readonly string[];
  readonly combine?: EnsembleCombination | undefined;
  readonly lambda?: number | undefined;
}

export interface ScoreClip {
  readonly min: number;
  readonly max: number;
}

/** Fields of a reward besides its type's block. */
export interface RewardServiceSpecs {
  readonly clip?: ScoreClip | undefined;
  readonly normalize?: RewardNormalization | undefined;
  readonly service?: ServiceSpec | undefined;
  readonly http?: HttpRewardSpec | undefined;
  readonly grpc?: GrpcRewardSpec | undefined;
  readonly judge?: JudgeRewardSpec | undefined;
  readonly ensemble?: EnsembleRewardSpec | undefined;
}

export interface ResolvedService {
  /** Environment variable of the reward workers that holds the bearer token; "" = none. The token is in no plan. */
  readonly tokenEnv: string;
  /** File with the bearer token, in its place. */
  readonly tokenFile?: string;
  /** Absent: the system's authorities and no client certificate. */
  readonly tls?: ServiceTlsSpec;
  /** Each answer has scores of tokens or steps; absent: one score. */
  readonly scope?: "token";
  /** Verdicts of another version are failures; "" = any. */
  readonly version: string;
  /** What the user says of it: the same sample always has the same score. */
  readonly deterministic: boolean;
  /** Samples of one call at most. */
  readonly batchSize: number;
  /** How long a call that is not full waits for more samples. */
  readonly batchWaitMs: number;
  /** Calls at the same time at most. */
  readonly concurrency: number;
  /** How long a call is tried again before its samples have failed. A deterministic scorer is waited for without end (D1c). */
  readonly retryForMs: number;
}

/** A clip and a normalisation of a resolved reward; absent where there is none. */
export interface ScoreShaping {
  readonly clip?: ScoreClip;
  readonly normalize?: "running";
}

export interface ResolvedJudge {
  /** Base of the API, e.g. `http://host:8000/v1`. */
  readonly url: string;
  readonly model: string;
  readonly rubric: string;
  /** Template; `{rubric}`, `{prompt}`, `{completion}`, `{min}` and `{max}` are filled in. */
  readonly prompt: string;
  readonly min: number;
  readonly max: number;
  readonly temperature: number;
  readonly maxTokens: number;
}

export interface ResolvedGrpcReward {
  readonly address: string;
  /** The server's scorer that is asked for. */
  readonly scorer: string;
  readonly tls: boolean;
}

export interface ResolvedModelReward {
  readonly from: string;
  /** A score of each step, and of the whole; absent: of the whole alone. */
  readonly scope?: "step";
  /** Text that a step ends with; there where `scope` is. */
  readonly stepEnd?: string;
}

export interface ResolvedEnsemble {
  readonly from: readonly string[];
  readonly combine: EnsembleCombination;
  readonly lambda: number;
}

/** Rewards of other processes, with their blocks. */
export type ServiceReward =
  | { readonly type: "http"; readonly http: HttpRewardSpec; readonly service: ResolvedService }
  | { readonly type: "grpc"; readonly grpc: ResolvedGrpcReward; readonly service: ResolvedService }
  | { readonly type: "judge"; readonly judge: ResolvedJudge; readonly service: ResolvedService };

export type EnsembleReward = { readonly type: "ensemble"; readonly ensemble: ResolvedEnsemble };
