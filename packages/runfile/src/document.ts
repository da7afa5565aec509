/**
 * Reads the text of a run file (YAML 1.2, of which JSON is a part) into a value that remembers where each part stood.
 *
 * Hostile input is refused before it is expanded: size, several documents, duplicate keys, alias bombs, depth. Knows
 * nothing of the schema.
 */
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type ParsedNode,
  parseDocument,
  Scalar,
  visit,
  type YAMLError,
} from "yaml";
import { ambiguityOf } from "./plain-scalars.ts";
import { formatPath, type Path, type Problem } from "./problem.ts";

/** Largest run file in bytes: what a Kubernetes object may hold is about as much. */
export const MAX_FILE_BYTES: number = 1024 * 1024;
/** Expansions of aliases at most: enough to share a few blocks, too few for a bomb. */
const MAX_ALIASES = 100;
/** Deepest nesting: the schema needs 8. */
const MAX_DEPTH = 64;

export interface Place {
  readonly line: number;
  readonly column: number;
}

export interface RunDocument {
  /** The document as plain data; undefined where it could not be read at all. */
  readonly value: unknown;
  /** Where a path stands (its key, or the nearest parent that exists). */
  locate(path: Path): Place | undefined;
  readonly problems: readonly Problem[];
}

/** Parses `text`; `file` is only named in problems. Never throws. */
export function readDocument(text: string, file: string): RunDocument {
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_FILE_BYTES) {
    const message = `the file is too large: ${bytes} bytes`;
    return failed({
      code: "FILE_TOO_LARGE",
      file,
      field: "",
      message,
      accepted: `at most ${MAX_FILE_BYTES} bytes`,
    });
  }
  const deepAt = tooDeep(text);
  if (deepAt !== undefined) {
    const accepted = `at most ${MAX_DEPTH} levels`;
    return failed({
      code: "TOO_DEEP",
      file,
      ...deepAt,
      field: "",
      message: "brackets are nested too deeply",
      accepted,
    });
  }
  const lines = new LineCounter();
  const options = {
    lineCounter: lines,
    prettyErrors: false,
    strict: true,
    uniqueKeys: true,
    stringKeys: true,
  } as const;
  const document = parseDocument(text, options);
  const source: Source = { document, lines, file };
  const problems = [...document.errors, ...document.warnings].map((error) => syntaxProblem(source, error));
  if (document.contents === null && problems.length === 0) {
    problems.push({
      code: "EMPTY",
      file,
      line: 1,
      column: 1,
      field: "",
      message: "the file holds no document",
    });
  }
  if (problems.length > 0) return { value: undefined, locate: (path) => locate(source, path), problems };
  const ambiguous = ambiguousScalars(source);
  const expanded = expand(source);
  if ("problem" in expanded)
    return { value: undefined, locate: (path) => locate(source, path), problems: [expanded.problem] };
  return { value: expanded.value, locate: (path) => locate(source, path), problems: ambiguous };
}

interface Source {
  readonly document: Document.Parsed<ParsedNode>;
  readonly lines: LineCounter;
  readonly file: string;
}

function failed(problem: Problem): RunDocument {
  return { value: undefined, locate: () => undefined, problems: [problem] };
}

/** The place of the first bracket beyond the depth limit; quoted text and comments may count, which only over-counts. */
function tooDeep(text: string): Place | undefined {
  let depth = 0;
  let line = 1;
  let lineStart = 0;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === "\n") [line, lineStart] = [line + 1, at + 1];
    else if (character === "[" || character === "{") depth++;
    else if (character === "]" || character === "}") depth = Math.max(0, depth - 1);
    if (depth > MAX_DEPTH) return { line, column: at - lineStart + 1 };
  }
  return undefined;
}

/** What this project says for the parser's codes that users meet; others keep the parser's words. */
const SYNTAX: Readonly<Record<string, { code: string; message: string; accepted?: string }>> = {
  DUPLICATE_KEY: { code: "DUPLICATE_KEY", message: "this key is given twice", accepted: "each key once" },
  MULTIPLE_DOCS: {
    code: "SEVERAL_DOCUMENTS",
    message: "the file holds several documents",
    accepted: "one TrainingRun per file",
  },
  TAB_AS_INDENT: { code: "YAML_SYNTAX", message: "a tab is used as indentation", accepted: "spaces" },
  NON_STRING_KEY: { code: "YAML_SYNTAX", message: "keys must be text", accepted: "a plain or quoted word" },
};

function syntaxProblem(source: Source, error: YAMLError): Problem {
  const { line, col } = source.lines.linePos(error.pos[0]);
  const known = SYNTAX[error.code];
  const words = known ?? { code: "YAML_SYNTAX", message: error.message };
  return { file: source.file, line, column: col, field: "", ...words };
}

/** Plain data, with aliases expanded up to the limit. */
function expand({ document, file }: Source): { value: unknown } | { problem: Problem } {
  try {
    return { value: document.toJS({ maxAliasCount: MAX_ALIASES }) };
  } catch (cause) {
    // The parser signals alias bombs and unresolved aliases by throwing; both are faults of the file.
    const message = cause instanceof Error ? cause.message : String(cause);
    const bomb = message.startsWith("Excessive");
    const accepted = bomb
      ? `at most ${MAX_ALIASES} expansions of aliases`
      : "an alias of an anchor further up";
    return { problem: { code: bomb ? "ALIAS_BOMB" : "ALIAS_UNKNOWN", file, field: "", message, accepted } };
  }
}

function ambiguousScalars(source: Source): Problem[] {
  const problems: Problem[] = [];
  visit(source.document, {
    Scalar(_key, node, ancestors) {
      if (node.type !== Scalar.PLAIN || node.source === undefined) return;
      const ambiguity = ambiguityOf(node.source);
      if (ambiguity === undefined) return;
      problems.push({
        code: "AMBIGUOUS_SCALAR",
        file: source.file,
        ...placeOf(source, node),
        field: formatPath(pathOf(ancestors, node)),
        message: `${node.source} without quotes is ${ambiguity.readings}`,
        value: node.source,
        accepted: ambiguity.accepted,
      });
    },
  });
  return problems;
}

function pathOf(
  ancestors: readonly (Document | Node | { key: unknown; value: unknown })[],
  leaf: unknown,
): Path {
  const path: (string | number)[] = [];
  ancestors.forEach((ancestor, at) => {
    const child: unknown = ancestors[at + 1] ?? leaf;
    if (isPair(ancestor) && isScalar(ancestor.key)) path.push(String(ancestor.key.value));
    else if (isSeq(ancestor)) path.push(ancestor.items.indexOf(child));
  });
  return path;
}

function placeOf(source: Source, node: { readonly range?: readonly number[] | null }): Place | undefined {
  const offset = node.range?.[0];
  if (offset === undefined) return undefined;
  const { line, col } = source.lines.linePos(offset);
  return { line, column: col };
}

/** The place of the last step of `path` that exists: its value for list items, its key otherwise. */
function locate(source: Source, path: Path): Place | undefined {
  let node: unknown = source.document.contents;
  let found = placeOf(source, source.document.contents ?? {});
  for (const step of path) {
    const child = childOf(isAlias(node) ? node.resolve(source.document) : node, step);
    if (child === undefined) return found;
    found = (isNode(child.shown) ? placeOf(source, child.shown) : undefined) ?? found;
    node = child.value;
  }
  return found;
}

/** One step down: the child, and the node whose place stands for it (a key, or a list's item itself). */
function childOf(node: unknown, step: string | number): { shown: unknown; value: unknown } | undefined {
  if (isMap(node)) {
    const pair = node.items.find(({ key }) => isScalar(key) && key.value === step);
    return pair && { shown: pair.key, value: pair.value };
  }
  const item: unknown = isSeq(node) && typeof step === "number" ? node.items[step] : undefined;
  return item === undefined ? undefined : { shown: item, value: item };
}
