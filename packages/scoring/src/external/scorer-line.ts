/** A connection to a scorer in another process, as far as those who call it know: one exchange, and what went wrong with it. */
import { OarlockError } from "@oarlock/errors";
import { failed } from "@oarlock/rewards";
import type { Verdict } from "@oarlock/rewards";
import type { TrajectoryInput } from "../scorer-set.ts";

/** How samples reach a scorer in another process. */
export interface ScorerLine {
  /** Whom it calls, for people; holds no secret. */
  readonly address: string;
  /**
   * A verdict on each input, in their order. Throws an OarlockError where there is none: retryable where the same call may
   * succeed later, otherwise the answer itself was wrong.
   */
  call(inputs: readonly TrajectoryInput[], signal: AbortSignal): Promise<readonly Verdict[]>;
  close(): void;
}

/** An answer that is not what the contract says. Asking again would not help. */
export function answerInvalid(address: string, what: string): OarlockError {
  return new OarlockError("SCORER_ANSWER_INVALID", `${address}: ${what}`);
}

/** The verdict carries another version than the plan pins. */
export function pinned(verdict: Verdict, version: string): Verdict {
  if (version === "" || verdict.type === "failed" || verdict.version === version) return verdict;
  return failed(
    "SCORER_VERSION",
    `scored by version ${verdict.version === undefined ? "(none said)" : verdict.version}; the plan pins ${version}`,
  );
}
