/**
 * The run file's schema as JSON Schema, and questions about it: which fields, which type, what is accepted.
 *
 * The same document becomes the custom resource's structural schema. Read-only; knows no run file.
 */
import * as z from "zod";
import type { Path } from "./problem.ts";
import { NAME_PATTERN, START_REFERENCE } from "./schema/primitives.ts";
import { runFileSchema } from "./schema/spec.ts";

/** The part of JSON Schema that the run file uses. */
export interface SchemaNode {
  readonly type?: "object" | "array" | "string" | "integer" | "number" | "boolean";
  readonly description?: string;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | SchemaNode;
  readonly items?: SchemaNode;
  readonly enum?: readonly string[];
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly maxProperties?: number;
  readonly propertyNames?: SchemaNode;
  readonly minimum?: number;
  readonly maximum?: number;
}

let cached: SchemaNode | undefined;

/** JSON Schema of a run file. */
export function runFileJsonSchema(): SchemaNode {
  // The cast narrows zod's general JSON Schema to the part in use; json-schema.test.ts walks it and checks that.
  cached ??= z.toJSONSchema(runFileSchema) as SchemaNode;
  return cached;
}

/** The schema at a path, or undefined where the schema has no such place. */
export function schemaAt(path: Path, root: SchemaNode = runFileJsonSchema()): SchemaNode | undefined {
  let node: SchemaNode | undefined = root;
  for (const step of path) node = typeof step === "number" ? node?.items : node?.properties?.[step];
  return node;
}

/** Paths below `node` that end in `key`, as `a.b.key`, nearest first, at most three levels deep. */
export function descendantsNamed(node: SchemaNode, key: string): string[] {
  const found: string[] = [];
  let level: [string, SchemaNode][] = [["", node]];
  for (let depth = 0; depth < 3; depth++) {
    const next: [string, SchemaNode][] = [];
    for (const [prefix, at] of level) {
      for (const [name, child] of Object.entries(at.properties ?? {})) {
        if (name === key) found.push(prefix + name);
        next.push([`${prefix}${name}.`, child]);
      }
    }
    level = next;
  }
  return found;
}

const PATTERN_WORDS: ReadonlyMap<string, string> = new Map([
  [NAME_PATTERN.source, "lower-case letters, digits and '-', starting with a letter, at most 40 characters"],
  ["^hf:\\/\\/datasets\\/", "hf://datasets/org/name[@revision]"],
  [START_REFERENCE.source, "model, or stage/<name> of an earlier stage"],
  ["^[imsuv]*$", "flags out of i, m, s, u, v"],
]);

/** What is accepted at a place, in words. */
export function acceptedAt(node: SchemaNode): string {
  if (node.enum !== undefined)
    return node.enum.length === 1 ? String(node.enum[0]) : `one of ${node.enum.join(", ")}`;
  return node.type === undefined ? "nothing" : TYPE_WORDS[node.type](node);
}

const TYPE_WORDS: { readonly [T in NonNullable<SchemaNode["type"]>]: (node: SchemaNode) => string } = {
  object: (node) =>
    typeof node.additionalProperties === "object"
      ? "a map from text to text"
      : `a block with ${Object.keys(node.properties ?? {}).join(", ")}`,
  array: (node) => `a list of ${node.minItems ?? 0} to ${node.maxItems ?? "any number of"} items`,
  integer: (node) => `an integer ${range(node)}`,
  number: (node) => `a number ${range(node)}`,
  boolean: () => "true or false",
  string: (node) => PATTERN_WORDS.get(node.pattern ?? "") ?? textWords(node),
};

function range(node: SchemaNode): string {
  const most = node.maximum === Number.MAX_SAFE_INTEGER ? "2^53 − 1" : String(node.maximum);
  return `from ${node.minimum} to ${most}`;
}

function textWords(node: SchemaNode): string {
  const matching = node.pattern === undefined ? "" : ` that matches ${node.pattern}`;
  return `text of ${node.minLength ?? 0} to ${node.maxLength} characters${matching}`;
}
