/** What a scorer is given and what it answers. A failure is never a number (S1). */

/** One completion to judge. Text is decoded for scorers only; training uses the tokens. */
export interface ScoringInput {
  readonly prompt: string;
  readonly completion: string;
  readonly completionTokens: number;
  /** The data row's fields: expected answers and whatever else the row holds. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** Whether the length limit cut the completion. */
  readonly truncated: boolean;
}

/** A judgement. */
export interface Scored {
  readonly type: "scored";
  readonly value: number;
  readonly explanation?: string;
  /** Of the scorer that gave it, where it is another process that says so. */
  readonly version?: string;
}

/** No judgement, and why. */
export interface Failed {
  readonly type: "failed";
  /** SCREAMING_SNAKE_CASE, e.g. `FIELD_MISSING`. */
  readonly code: string;
  readonly reason: string;
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
}

/** A number or the reason why there is none (S1). */
export type Verdict = Scored | Failed;

/** A judgement. A value that is not finite is a failure. */
export function scored(value: number, explanation?: string): Verdict {
  if (!Number.isFinite(value)) return failed("VALUE_NOT_FINITE", `the scorer returned ${value}`);
  return { type: "scored", value, ...(explanation !== undefined && { explanation }) };
}

/** No judgement, and why; `retryable`: asking again may give one. */
export function failed(code: string, reason: string, retryable = false): Failed {
  return { type: "failed", code, reason, retryable };
}

/** A scorer without effects. */
export type Verifier = (input: ScoringInput) => Verdict;

/** The expected text in `field`, or the failure that says what the row holds instead. */
export function expectedText(input: ScoringInput, field: string): string | Failed {
  const value = input.fields[field];
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "bigint") return String(value);
  const held = Object.keys(input.fields).join(", ") || "nothing";
  return failed("FIELD_MISSING", `the row has no text in "${field}"; it holds: ${held}`);
}
