/** A connection to a scorer in another process, as far as those who call it know: one exchange, and what went wrong with it. */
import { OarlockError } from "@oarlock/errors";
import { failed } from "@oarlock/rewards";
import type { Verdict } from "@oarlock/rewards";
import type { TlsOptions } from "@oarlock/rpc";
import type { TrajectoryInput } from "../scorer-set.ts";

/** How a line proves who calls, and whom it trusts. */
export interface LineCredentials {
  /** Bearer token; "": none. Asked for at every call, since a file's token may be renewed. In no message. */
  readonly token: () => string;
  /** Absent: the system's authorities, no certificate of ours. */
  readonly tls?: TlsOptions | undefined;
}

/** How samples reach a scorer in another process. */
export interface ScorerLine {
  /** Whom it calls, for people; holds no secret. */
  readonly address: string;
  /**
   * A verdict on each input, in their order, by that version of the scorer ("": any). Throws an OarlockError where there is none: retryable where the same call may
   * succeed later, otherwise the answer itself was wrong.
   */
  call(inputs: readonly TrajectoryInput[], signal: AbortSignal, version: string): Promise<readonly Verdict[]>;
  close(): void;
}

/** An answer that is not what the contract says. Asking again would not help. */
export function answerInvalid(address: string, what: string): OarlockError {
  return new OarlockError("SCORER_ANSWER_INVALID", `${address}: ${what}`);
}

/** The verdict, or a failure where it carries another version than is pinned; "": any will do. */
export function pinned(verdict: Verdict, version: string): Verdict {
  if (version === "" || verdict.type === "failed" || verdict.version === version) return verdict;
  return failed(
    "SCORER_VERSION",
    `scored by version ${verdict.version === undefined ? "(none said)" : verdict.version}; ${version} is pinned`,
  );
}
