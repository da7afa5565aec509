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
  /** Where it is the sum of scores of tokens. */
  readonly tokens?: TokenScores;
}

/** Scores of single tokens, or of steps at their last tokens. */
export interface TokenScores {
  /** Indices among prompt and completion, ascending; of the completion. */
  readonly positions: readonly number[];
  /** As many as positions. */
  readonly values: readonly number[];
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

/** Whether training can use it: finite as float32 too, so that no sum of squares of such numbers overflows (T3). */
export function isUsableScore(value: number): boolean {
  return Number.isFinite(Math.fround(value));
}

function notFinite(value: number, of = ""): Failed {
  const what = Number.isFinite(value) ? `${value}, which is beyond float32` : value;
  return failed("VALUE_NOT_FINITE", `the scorer returned ${what}${of}`);
}

/** A judgement. A value that is not finite, in double or in single precision, is a failure. */
export function scored(value: number, explanation?: string): Verdict {
  if (!isUsableScore(value)) return notFinite(value);
  return { type: "scored", value, ...(explanation !== undefined && { explanation }) };
}

/** What a text is made of, as far as scores of its tokens go. */
export interface TokenRange {
  readonly promptLength: number;
  readonly completionTokens: number;
}

/** A judgement token by token, or step by step; scores that do not lie on the completion's tokens in order are a failure. */
export function scoredTokens(
  { positions, values }: TokenScores,
  { promptLength, completionTokens }: TokenRange,
  explanation?: string,
): Verdict {
  const wrong = (what: string): Failed => failed("SCORER_ANSWER_INVALID", `scores of tokens: ${what}`);
  if (positions.length !== values.length)
    return wrong(`${values.length} scores at ${positions.length} places`);
  const end = promptLength + completionTokens;
  const misplaced = positions.find(
    (position, i) =>
      !Number.isInteger(position) ||
      position < promptLength ||
      position >= end ||
      position <= (positions[i - 1] ?? -1),
  );
  if (misplaced !== undefined) {
    return wrong(
      `place ${misplaced - promptLength} is not one of ${completionTokens} tokens, in ascending order`,
    );
  }
  const bad = values.find((value) => !isUsableScore(value));
  if (bad !== undefined) return notFinite(bad, " for a token");
  const sum = scored(
    values.reduce((total, value) => total + value, 0),
    explanation,
  );
  return sum.type === "scored" ? { ...sum, tokens: { positions, values } } : sum;
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
  const kind = Array.isArray(value) ? "list" : value === null ? "null" : typeof value;
  const found = value === undefined ? "" : ` (but ${kind})`;
  return failed("FIELD_MISSING", `the row has no text in "${field}"${found}; it holds: ${held}`);
}
