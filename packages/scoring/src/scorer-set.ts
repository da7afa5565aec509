/** What scorers are given and what a named vector of them answers, as far as a reward worker uses it. */
import type { Trajectory } from "@oarlock/proto";
import type { ScoringInput, TokenRange, Verdict } from "@oarlock/rewards";
import type { ScoredListener, ScorerInfo } from "@oarlock/sandbox";

/** Text for those who read, tokens for models. */
export interface TrajectoryInput extends ScoringInput {
  /** Prompt and completion, with the token that ended it. */
  readonly tokens: Int32Array;
  /** The whole record, for scorers of other processes. */
  readonly trajectory?: Trajectory;
}

/** Where the completion lies among the tokens. */
export function rangeOf({ tokens, completionTokens }: TrajectoryInput): TokenRange {
  return { promptLength: tokens.length - completionTokens, completionTokens };
}

/** What a scorer of another process, or one that remembers, is doing. */
export interface ScorerActivity {
  readonly name: string;
  readonly calls?: number;
  readonly failedCalls?: number;
  readonly circuit?: "closed" | "open" | "half-open";
  /** Samples without a verdict. */
  readonly waiting?: number;
  readonly lastFailure?: string;
  readonly cacheHits?: number;
  readonly cacheMisses?: number;
}

/** How a set is asked. */
export interface ScoreOptions {
  readonly signal?: AbortSignal | undefined;
  /** Hears of each scorer when its last verdict is in. */
  readonly onScored?: ScoredListener | undefined;
  /** Wanted versions by the scorer's name; of others, the one that is there. */
  readonly pins?: ReadonlyMap<string, string>;
}

/** A named vector of scorers. */
export interface ScorerSet {
  /** Of a model that is still to come, the version is ""; after a score, that of the model that gave it. */
  readonly scorers: readonly ScorerInfo[];
  /** Of those that have something to say. */
  activity(): readonly ScorerActivity[];
  /** `verdicts[i][j]` is scorer j's on input i. Never rejects for a scorer's fault (S1). */
  score(inputs: readonly TrajectoryInput[], options?: ScoreOptions): Promise<readonly (readonly Verdict[])[]>;
}
