/**
 * One thing that is wrong with a run file: where, what, and what would be accepted instead (X1).
 *
 * Plain data; the command line renders it, tests compare it. Does not know how it was found.
 */
import { OarlockError, withoutCredentials } from "@oarlock/errors";

/** Steps from the document's root: keys and list indices. */
export type Path = readonly (string | number)[];

export interface Problem {
  /** Stable, SCREAMING_SNAKE_CASE. */
  readonly code: string;
  /** The run file, or `--set`. */
  readonly file: string;
  /** From 1; absent where the problem has no place in the file. */
  readonly line?: number;
  readonly column?: number;
  /** E.g. `spec.stages[1].grpo.steps`; "" is the whole document. */
  readonly field: string;
  readonly message: string;
  /** The offending value as written, shortened. */
  readonly value?: string;
  /** What would be accepted, or what to do instead. */
  readonly accepted?: string;
}

/** `["spec", "stages", 1, "name"]` → `spec.stages[1].name`. */
export function formatPath(path: Path): string {
  return path
    .map((step, at) => (typeof step === "number" ? `[${step}]` : at === 0 ? step : `.${step}`))
    .join("");
}

/** One line: `file:line:column: field: message (value …; accepted: …)`. */
export function formatProblem(problem: Problem): string {
  const place = [problem.file, problem.line, problem.column].filter((part) => part !== undefined).join(":");
  const field = problem.field === "" ? "" : ` ${problem.field}:`;
  const details = [
    ...(problem.value === undefined ? [] : [`value: ${problem.value}`]),
    ...(problem.accepted === undefined ? [] : [`accepted: ${problem.accepted}`]),
  ].join("; ");
  return `${place}:${field} ${problem.message}${details === "" ? "" : ` (${details})`}`;
}

/** Longest value shown in a message, in characters. */
const SHOWN_CHARACTERS = 60;

/** A value as it is shown in a message: JSON, shortened, in one line, without a password in an address; JSON has no infinity. */
export function showValue(value: unknown): string {
  const json = typeof value === "number" ? undefined : JSON.stringify(value);
  const text = withoutCredentials(json ?? String(value));
  return text.length <= SHOWN_CHARACTERS ? text : `${text.slice(0, SHOWN_CHARACTERS)}…`;
}

/** All problems of a run file as one error, code `RUN_FILE_INVALID`. */
export function runFileError(problems: readonly Problem[]): OarlockError {
  const lines = problems.map(formatProblem).join("\n");
  const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
  return new OarlockError("RUN_FILE_INVALID", `${count}:\n${lines}`);
}
