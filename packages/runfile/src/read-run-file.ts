/**
 * Text of a run file → a checked `RunFile`, or every problem in it with its place (X1).
 *
 * Order: read the document, apply `--set`, check the schema. Pure: the caller reads the file.
 */
import { withoutCredentials } from "@oarlock/errors";
import { type Place, readDocument, type RunDocument } from "./document.ts";
import { fieldOf, type Finding, findingsOf, valueAt } from "./issues.ts";
import { runFileJsonSchema, type SchemaNode } from "./json-schema.ts";
import { applyOverrides, type Override, readOverride } from "./overrides.ts";
import { formatPath, type Path, type Problem } from "./problem.ts";
import type { RunFile } from "./run-file.ts";
import { runFileSchema } from "./schema/spec.ts";

export interface ReadOptions {
  /** Name of the file in messages. */
  readonly file: string;
  /** `key=value` of every `--set`, in order. */
  readonly set?: readonly string[];
}

/** A checked run file and where its values come from. */
export interface ReadRunFile {
  readonly run: RunFile;
  /** Where a value stands: in the file, or in a `--set`; undefined: it is in neither. */
  source(path: Path): ValueSource | undefined;
  /** The place to name for a problem at `path`: the value, or its nearest parent. */
  locate(path: Path): Pick<Problem, "file" | "line" | "column">;
}

export type ValueSource =
  | ({ readonly type: "file"; readonly file: string } & Place)
  | { readonly type: "set"; readonly text: string };

export type ReadResult =
  | { readonly ok: true; readonly file: ReadRunFile }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** Reads and checks a run file; never throws, reports every problem. */
export function readRunFile(text: string, options: ReadOptions): ReadResult {
  const document = readDocument(text, options.file);
  if (document.value === undefined) return { ok: false, problems: document.problems };
  const results = (options.set ?? []).map((set) => readOverride(set, document.value));
  const overrides = results.flatMap((result) => ("override" in result ? [result.override] : []));
  const setProblems = results.flatMap((result) => ("problem" in result ? [result.problem] : []));
  const root = withoutNulls(applyOverrides(document.value, overrides), runFileJsonSchema());
  const origin = originOf(document, overrides, options.file);
  const checked = runFileSchema.safeParse(root);
  const ambiguousFields = new Set(document.problems.map(({ field }) => field));
  const found = checked.success ? [] : checked.error.issues.flatMap((issue) => findingsOf(issue, root));
  // An integer beyond 2^53 breaks two rules of the schema that say the same.
  const findings = [...new Map(found.map((finding) => [JSON.stringify(finding), finding])).values()];
  const schemaProblems = findings
    .filter((finding) => !ambiguousFields.has(fieldOf(finding)))
    .map((finding) => problemOf(finding, origin.locate));
  const problems = [...document.problems, ...setProblems, ...schemaProblems];
  if (!checked.success || problems.length > 0) return { ok: false, problems };
  return { ok: true, file: { run: checked.data, ...origin } };
}

/** A field without a value (`seed:`) is as good as absent, as the API server reads it; a field that nobody knows stays. */
function withoutNulls(value: unknown, node: SchemaNode | undefined): unknown {
  if (Array.isArray(value)) return value.map((item: unknown) => withoutNulls(item, node?.items));
  if (typeof value !== "object" || value === null) return value;
  const others = typeof node?.additionalProperties === "object" ? node.additionalProperties : undefined;
  const schemaOf = (key: string): SchemaNode | undefined => node?.properties?.[key] ?? others;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key, child]) => child !== null || schemaOf(key) === undefined)
      .map(([key, child]) => [key, withoutNulls(child, schemaOf(key))]),
  );
}

function problemOf(finding: Finding, locate: ReadRunFile["locate"]): Problem {
  const { path, ...words } = finding;
  return { ...words, ...locate(path), field: formatPath(path) };
}

/** Whether there is a value at the path; a field without one is none. */
const holds = (root: unknown, path: Path): boolean => (valueAt(root, path) ?? undefined) !== undefined;

function originOf(
  document: RunDocument,
  overrides: readonly Override[],
  file: string,
): Pick<ReadRunFile, "source" | "locate"> {
  const setAt = (path: Path) =>
    overrides.findLast(
      (override) =>
        override.path.every((step, at) => at >= path.length || path[at] === step) &&
        override.path.length <= path.length,
    );
  return {
    source(path) {
      const override = setAt(path);
      if (override !== undefined) {
        const { value, text } = override;
        return holds(value, path.slice(override.path.length)) ? { type: "set", text } : undefined;
      }
      const place = holds(document.value, path) ? document.locate(path) : undefined;
      return place === undefined ? undefined : { type: "file", file, ...place };
    },
    locate(path) {
      const override = setAt(path);
      return override === undefined
        ? { file, ...document.locate(path) }
        : { file: `--set ${withoutCredentials(override.text)}` };
    },
  };
}
