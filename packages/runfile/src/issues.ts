/** Turns the schema's findings into problems with words: what is there, what is accepted, what was probably meant. */
import type { z } from "zod";
import { acceptedAt, descendantsNamed, type SchemaNode, schemaAt } from "./json-schema.ts";
import { formatPath, type Path, type Problem, showValue } from "./problem.ts";
import { foreignName, nearest } from "./suggest.ts";

/** A problem without its place in a file. */
export type Finding = Pick<Problem, "code" | "message" | "value" | "accepted"> & { readonly path: Path };

/** One issue may name several unknown keys, hence a list. */
export function findingsOf(issue: z.core.$ZodIssue, root: unknown): Finding[] {
  const path = issue.path.filter((step) => typeof step !== "symbol");
  if (issue.code === "unrecognized_keys") return issue.keys.map((key) => unknownKey(path, key, root));
  const node = schemaAt(path);
  const value = valueAt(root, path);
  if (issue.code === "custom") return [customFinding(issue, path, value)];
  const accepted = node === undefined ? {} : { accepted: acceptedAt(node) };
  if (value === undefined) return [{ code: "REQUIRED", path, message: "is required", ...accepted }];
  return [
    {
      code: CODES[issue.code] ?? "INVALID_VALUE",
      path,
      message: words(issue, node, value),
      value: showValue(value),
      ...accepted,
    },
  ];
}

const CODES: Readonly<Record<string, string>> = {
  invalid_type: "WRONG_TYPE",
  too_small: "OUT_OF_RANGE",
  too_big: "OUT_OF_RANGE",
  invalid_value: "UNKNOWN_WORD",
  invalid_format: "WRONG_FORM",
};

function words(issue: z.core.$ZodIssue, node: SchemaNode | undefined, value: unknown): string {
  if (issue.code === "invalid_type") return `must be ${article(node?.type ?? issue.expected)}`;
  if (issue.code === "too_small") return `is below ${issue.minimum}${unit(node)}`;
  if (issue.code === "too_big") return `is above ${issue.maximum}${unit(node)}`;
  if (issue.code === "invalid_value") return unknownWord(issue.values.map(String), value);
  return issue.code === "invalid_format" ? "has the wrong form" : issue.message;
}

function article(type: string): string {
  const noun = NOUNS[type] ?? type;
  return `${/^[aeiou]/.test(noun) ? "an" : "a"} ${noun}`;
}

const NOUNS: Readonly<Record<string, string>> = {
  object: "block",
  array: "list",
  string: "text",
  boolean: "truth value",
  integer: "integer",
  number: "number",
};

function unit(node: SchemaNode | undefined): string {
  if (node?.type === "string") return " characters";
  return node?.type === "array" ? " items" : "";
}

function unknownWord(known: readonly string[], value: unknown): string {
  const near = typeof value === "string" ? nearest(value, known) : undefined;
  return near === undefined ? "is not a known word" : `is not a known word: did you mean ${near}?`;
}

function customFinding(issue: z.core.$ZodIssueCustom, path: Path, value: unknown): Finding {
  const accepted: unknown = issue.params?.["accepted"];
  const code: unknown = issue.params?.["code"];
  const shown = value === undefined || typeof value === "object" ? {} : { value: showValue(value) };
  return {
    code: typeof code === "string" ? code : "RULE",
    path,
    message: issue.message,
    ...shown,
    ...(typeof accepted === "string" ? { accepted } : {}),
  };
}

function unknownKey(parent: Path, key: string, root: unknown): Finding {
  const node = schemaAt(parent);
  const known = Object.keys(node?.properties ?? {});
  const near = nearest(key, known) ?? (node && descendantsNamed(node, key)[0]) ?? foreignName(key);
  const message = near === undefined ? "is not a known field" : `is not a known field: did you mean ${near}?`;
  const path = [...parent, key];
  return {
    code: "UNKNOWN_FIELD",
    path,
    message,
    value: showValue(valueAt(root, path)),
    accepted: known.join(", "),
  };
}

/** The value at a path of plain data. */
export function valueAt(root: unknown, path: Path): unknown {
  let value: unknown = root;
  for (const step of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = Object.getOwnPropertyDescriptor(value, step)?.value;
  }
  return value;
}

/** The problem's field as users write it. */
export function fieldOf(finding: Finding): string {
  return formatPath(finding.path);
}
