/**
 * From the run file's JSON Schema to the structural schema of a custom resource: what the API server does not know is left
 * out, and what only it can check is added.
 */
import type { Rule } from "../schema/primitives.ts";

/** Not in structural schemas: objects are closed anyway, since unknown fields are refused or pruned. */
const DROPPED = new Set(["$schema", "propertyNames"]);
const PRESERVED = "x-kubernetes-preserve-unknown-fields";
const RULES = "x-kubernetes-validations";

/** A node of a structural schema. */
export type Structural = Readonly<Record<string, unknown>>;

/** The structural schema that says the same as a JSON Schema node. */
export function structural(node: object): Structural {
  // Fields that only the API server's other schemas know.
  if (PRESERVED in node) {
    const { type, description, [PRESERVED]: preserve } = node as Structural;
    return { type, description, [PRESERVED]: preserve };
  }
  const kept: Structural = Object.fromEntries(
    Object.entries(node)
      .filter(([key, value]) => !DROPPED.has(key) && !(key === "additionalProperties" && value === false))
      .map(([key, value]: [string, unknown]) => [key, convert(value)]),
  );
  const least = kept["minimum"];
  if (kept["type"] !== "number" || typeof least !== "number" || Number.isInteger(least)) return kept;
  // The API server compares a value that is written as an integer with the bound cut to an integer: 0 ≥ 1e-12.
  const rule = { rule: `self >= ${least}`, message: `must be at least ${least}` };
  return { ...kept, [RULES]: [...listOf(kept[RULES]), rule] };
}

function convert(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(convert);
  return typeof value === "object" && value !== null ? structural(value) : value;
}

/** Adds rules at places, written `stages[].grpo.data`; `""` is the node itself. */
export function withRules(node: Structural, places: Readonly<Record<string, readonly Rule[]>>): Structural {
  return Object.entries(places).reduce((before, [place, rules]) => {
    const steps = place.split(".").filter((step) => step !== "");
    return addRules(before, steps, rules);
  }, node);
}

function addRules(node: Structural, [step, ...rest]: readonly string[], rules: readonly Rule[]): Structural {
  if (step === undefined) return { ...node, [RULES]: [...listOf(node[RULES]), ...rules] };
  const name = step.replace(/\[\]$/, "");
  const properties = objectOf(node["properties"]);
  const child = objectOf(properties[name]);
  const changed = step.endsWith("[]")
    ? { ...child, items: addRules(objectOf(child["items"]), rest, rules) }
    : addRules(child, rest, rules);
  return { ...node, properties: { ...properties, [name]: changed } };
}

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const objectOf = (value: unknown): Structural =>
  typeof value === "object" && value !== null ? { ...value } : {};
