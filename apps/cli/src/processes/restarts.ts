/** What to do when a child of a run has ended. Pure: it knows exits and counts, no processes and no time. */
import { backoffMs, type Backoff } from "@oarlock/runtime";
import { SERVICE_EXIT } from "@oarlock/workload";

export type ChildRole = "learner" | "actor" | "reward";

/** How a process ended. */
export interface ChildExit {
  readonly role: ChildRole;
  /** Undefined where a signal ended it. */
  readonly code: number | undefined;
  readonly signal: string | undefined;
  /** Ends in a row, this one included, between which it got nothing done. */
  readonly fruitless: number;
}

export type Verdict =
  /** The learner is done, and the run with it. */
  | { readonly type: "over" }
  | { readonly type: "restart"; readonly afterMs: number }
  /** Another try would do no better. */
  | { readonly type: "give-up"; readonly reason: string };

/** Fruitless ends of a learner that are borne: each restart costs the work since its last checkpoint. */
export const MAX_FRUITLESS = 10;
const PAUSE: Backoff = { baseMs: 100, maxMs: 5_000 };

/** Restart, end, or give up. */
export function verdictOf(exit: ChildExit, backoff: Backoff = PAUSE): Verdict {
  const { role, code, signal, fruitless } = exit;
  if (role === "learner" && code === SERVICE_EXIT.ok) return { type: "over" };
  const how = code === undefined ? `signal ${signal ?? "unknown"}` : `exit code ${code}`;
  if (code === SERVICE_EXIT.refused || code === SERVICE_EXIT.deviceMissing)
    return { type: "give-up", reason: `it cannot go on (${how})` };
  if (role === "learner" && fruitless >= MAX_FRUITLESS) {
    return { type: "give-up", reason: `it ended ${fruitless} times without a step (last: ${how})` };
  }
  return { type: "restart", afterMs: backoffMs(Math.max(0, fruitless - 1), backoff) };
}
