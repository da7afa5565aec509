/**
 * `--set key=value`: changes one place of a run file before it is validated. Paths start at the spec (`spec.` may be
 * written), list items go by index or by name, the block of a `type` may be left out, values are typed by the schema, `null`
 * removes. Pure.
 */
import { readDocument } from "./document.ts";
import { valueAt } from "./issues.ts";
import { acceptedAt, runFileJsonSchema, type SchemaNode, schemaAt } from "./json-schema.ts";
import { ambiguityOf } from "./plain-scalars.ts";
import { type Path, type Problem, showValue } from "./problem.ts";
import { nearest } from "./suggest.ts";

/** What one `--set` does. */
export interface Override {
  readonly path: Path;
  /** undefined removes the field. */
  readonly value: unknown;
  /** As typed. */
  readonly text: string;
}

export type OverrideResult = { readonly override: Override } | { readonly problem: Problem };

/** Reads one `key=value` against the document it changes (names of list items are looked up there). */
export function readOverride(text: string, root: unknown): OverrideResult {
  const equals = text.indexOf("=");
  if (equals <= 0) {
    return refuse("SET_FORM", "", {
      message: equals === 0 ? "names nothing before '='" : "has no '='",
      value: showValue(text),
      accepted: "key=value, e.g. stages.grpo.steps=50",
    });
  }
  const written = text.slice(0, equals);
  const raw = text.slice(equals + 1);
  const walked = walk(written, root);
  if ("problem" in walked) return walked;
  if (raw === "null") return { override: { path: walked.path, value: undefined, text } };
  const typed = typedValue(raw, walked.node);
  if ("message" in typed) {
    const { message, accepted = acceptedAt(walked.node) } = typed;
    return refuse("SET_VALUE", written, { message, value: showValue(raw), accepted });
  }
  return { override: { path: walked.path, value: typed.value, text } };
}

/** A copy of `root` with the overrides applied, in order. */
export function applyOverrides(root: unknown, overrides: readonly Override[]): unknown {
  return overrides.reduce<unknown>((value, { path, value: next }) => withValue(value, path, next), root);
}

function refuse(
  code: string,
  field: string,
  details: Pick<Problem, "message" | "value" | "accepted">,
): { problem: Problem } {
  return { problem: { code, file: "--set", field, ...details } };
}

type Walked = { readonly path: Path; readonly node: SchemaNode } | { readonly problem: Problem };

function walk(written: string, root: unknown): Walked {
  const steps = written.replaceAll(/\[(\d+)\]/g, ".$1").split(".");
  const absolute = steps[0] === "spec" || steps[0] === "metadata" ? steps : ["spec", ...steps];
  const path: (string | number)[] = [];
  let node = runFileJsonSchema();
  for (const step of absolute) {
    const block = impliedBlock(node, step, valueAt(root, path));
    if (block !== undefined) {
      path.push(block.name);
      node = block.node;
    }
    const next = node.items === undefined ? fieldStep(node, step) : itemStep(step, valueAt(root, path));
    if (typeof next === "object") return refuse("SET_PATH", written, next);
    path.push(next);
    const child = schemaAt([next], node);
    if (child === undefined) return refuse("SET_PATH", written, { message: `nothing lies below '${step}'` });
    node = child;
  }
  return { path, node };
}

/** `stages.first.steps` means `stages.first.grpo.steps` where `type: grpo`: the block of the type may be left out. */
function impliedBlock(
  node: SchemaNode,
  step: string,
  value: unknown,
): { readonly name: string; readonly node: SchemaNode } | undefined {
  const type = valueAt(value, ["type"]);
  if (typeof type !== "string" || Object.keys(node.properties ?? {}).includes(step)) return undefined;
  const block = schemaAt([type], node);
  const holds = block !== undefined && Object.keys(block.properties ?? {}).includes(step);
  return holds ? { name: type, node: block } : undefined;
}

function fieldStep(node: SchemaNode, step: string): string | { message: string; accepted: string } {
  const known = Object.keys(node.properties ?? {});
  if (known.includes(step)) return step;
  const near = nearest(step, known);
  const message = `has no field '${step}'${near === undefined ? "" : `: did you mean ${near}?`}`;
  return { message, accepted: known.length === 0 ? "a path that ends earlier" : known.join(", ") };
}

function itemStep(step: string, items: unknown): number | { message: string; accepted: string } {
  const list: readonly unknown[] = Array.isArray(items) ? items : [];
  const names = list
    .map((item) => valueAt(item, ["name"]))
    .map((name) => (typeof name === "string" ? name : ""));
  const index = /^\d+$/.test(step) ? Number(step) : names.indexOf(step);
  if (index >= 0 && index < list.length) return index;
  const accepted =
    list.length === 0
      ? "an item that exists: the list is empty"
      : `0 to ${list.length - 1}, or ${names.filter((name) => name !== "").join(", ")}`;
  return { message: `the list has no item '${step}'`, accepted };
}

const NUMBER = /^[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?$/;

type Typed = { readonly value: unknown } | { readonly message: string; readonly accepted?: string };

function typedValue(raw: string, node: SchemaNode): Typed {
  if (node.type === "string") return { value: raw };
  if (node.type === "integer" || node.type === "number") {
    if (!NUMBER.test(raw)) return { message: "must be a number" };
    const value = Number(raw);
    const ambiguity = ambiguityOf(raw);
    return ambiguity === undefined
      ? { value }
      : { message: `is ${ambiguity.readings}`, accepted: String(value) };
  }
  if (node.type === "boolean") {
    return raw === "true" || raw === "false"
      ? { value: raw === "true" }
      : { message: "must be true or false" };
  }
  const document = readDocument(raw, "--set");
  const [problem] = document.problems;
  return problem === undefined ? { value: document.value } : { message: problem.message };
}

function withValue(root: unknown, path: Path, value: unknown): unknown {
  const [step, ...rest] = path;
  if (step === undefined) return value;
  if (Array.isArray(root) && typeof step === "number") {
    return root.map((item: unknown, at) => (at === step ? withValue(item, rest, value) : item));
  }
  const entries = typeof root === "object" && root !== null ? Object.entries(root) : [];
  const changed = withValue(valueAt(root, [step]), rest, value);
  const others = entries.filter(([key]) => key !== step);
  return Object.fromEntries(changed === undefined ? others : [...others, [String(step), changed]]);
}
