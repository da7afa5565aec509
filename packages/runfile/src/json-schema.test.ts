/** The schema says only what a Kubernetes structural schema can say: walked here, node by node. */
import { describe, expect, it } from "vitest";
import { acceptedAt, runFileJsonSchema, type SchemaNode, schemaAt } from "./json-schema.ts";

const ALLOWED = new Set([
  "$schema",
  "type",
  "description",
  "properties",
  "required",
  "additionalProperties",
  "items",
  "enum",
  "pattern",
  "minLength",
  "maxLength",
  "minItems",
  "maxItems",
  "maxProperties",
  "propertyNames",
  "minimum",
  "maximum",
  "x-kubernetes-validations",
  "x-kubernetes-list-type",
  "x-kubernetes-list-map-keys",
  "x-kubernetes-preserve-unknown-fields",
]);

/** The one place whose fields only the API server knows. */
const OPEN = ".spec.roles[].template";

function* walk(node: SchemaNode, path: string): Generator<[string, SchemaNode]> {
  yield [path, node];
  for (const [name, child] of Object.entries(node.properties ?? {})) yield* walk(child, `${path}.${name}`);
  if (node.items !== undefined) yield* walk(node.items, `${path}[]`);
}

const nodes = [...walk(runFileJsonSchema(), "")];
const ofType = (type: SchemaNode["type"]) => nodes.filter(([, node]) => node.type === type);

const offending = (among: readonly (readonly [string, SchemaNode])[], wrong: (node: SchemaNode) => boolean) =>
  among.filter(([, node]) => wrong(node)).map(([path]) => path);

const validations = (node: SchemaNode) => Reflect.get(node, "x-kubernetes-validations") as { rule: string }[];

/** Types whose block may be left out: its fields all have defaults. */
const MAY_GO_WITHOUT: ReadonlySet<string> = new Set(["exact", "numeric", "runCA"]);

/** Names that CEL reads only in another form. */
const IN_CEL: Readonly<Record<string, string>> = {
  function: "__function__",
  "reward-model": "reward__dash__model",
};

/** The rules of a union of these types, written out: a block for its own type, and for no other. */
function rulesOf(types: readonly string[]): string[] {
  const blocks = types.map((type) => {
    const block = `has(self.${IN_CEL[type] ?? type})`;
    return MAY_GO_WITHOUT.has(type)
      ? `self.type == '${type}' || !${block}`
      : `(self.type == '${type}') == ${block}`;
  });
  const isScorer = types.includes("judge");
  return [...blocks, ...(isScorer ? ["!has(self.service) || self.type in ['http', 'grpc', 'judge']"] : [])];
}

/** A bounded map from text to text: labels and the like. */
const isMap = (node: SchemaNode): boolean =>
  typeof node.additionalProperties === "object" &&
  node.additionalProperties.type === "string" &&
  (node.maxProperties ?? Infinity) <= 64 &&
  node.properties === undefined;

describe("structural schema", () => {
  it("has one plain type at every node, and no keyword that a custom resource may not use", () => {
    expect(nodes.length).toBeGreaterThan(150);
    const types = new Set(["object", "array", "string", "integer", "number", "boolean"]);
    expect(offending(nodes, (node) => !types.has(String(node.type)))).toEqual([]);
    expect(offending(nodes, (node) => Object.keys(node).some((key) => !ALLOWED.has(key)))).toEqual([]);
  });

  it("closes every object, and describes every field", () => {
    expect(
      offending(ofType("object"), (node) => node.additionalProperties !== false && !isMap(node)),
    ).toEqual([OPEN]);
    expect(offending(nodes, (node) => "x-kubernetes-preserve-unknown-fields" in node)).toEqual([OPEN]);
    const fields = nodes.filter(([path]) => path !== "" && !path.endsWith("[]"));
    expect(offending(fields, (node) => (node.description ?? "") === "")).toEqual([]);
  });

  it("bounds every list, string and number, integers within 2^53", () => {
    const above = (value: number | undefined, most: number) => value === undefined || value > most;
    expect(offending(ofType("array"), (node) => above(node.maxItems, 64))).toEqual([]);
    const texts = ofType("string").filter(([, node]) => node.enum === undefined);
    expect(texts.length).toBeGreaterThan(10);
    expect(offending(texts, (node) => above(node.maxLength, 16_384))).toEqual([]);
    const numbers = [...ofType("integer"), ...ofType("number")];
    expect(offending(numbers, (node) => node.minimum === undefined)).toEqual([]);
    expect(offending(numbers, (node) => above(node.maximum, 2 ** 53 - 1))).toEqual([]);
  });

  it.each(["metadata", "spec.stages.0", "spec.evaluation.rewards.0"])(
    "keeps %s.name RFC 1035 and at most 40 characters",
    (parent) => {
      const path = parent.split(".").map((step) => (step === "0" ? 0 : step));
      const node = schemaAt([...path, "name"]);
      expect(node?.maxLength).toBe(40);
      const pattern = new RegExp(node?.pattern ?? "^never$");
      expect("a-name-1").toMatch(pattern);
      for (const bad of ["1a", "A", "a_b", "a-", "-a", "a.b"]) expect(bad).not.toMatch(pattern);
    },
  );

  it("states a rule for every block of every union, and nothing else but that only services have service settings", () => {
    const unions = nodes.filter(([, node]) => node.properties?.["type"] !== undefined);
    expect(unions.length).toBeGreaterThanOrEqual(5);
    const types = (node: SchemaNode) => node.properties?.["type"]?.enum ?? [];
    const rules = unions.map(([path, node]) => [path, validations(node).map(({ rule }) => rule)]);
    expect(rules).toEqual(unions.map(([path, node]) => [path, rulesOf(types(node))]));
    const noBlock = (node: SchemaNode) =>
      types(node).some((type) => node.properties?.[type]?.type !== "object");
    expect(offending(unions, noBlock)).toEqual([]);
  });

  it("says in words what is accepted", () => {
    expect(acceptedAt({ type: "integer", minimum: 0, maximum: Number.MAX_SAFE_INTEGER })).toBe(
      "an integer from 0 to 2^53 − 1",
    );
    expect(acceptedAt({ type: "string", enum: ["a", "b"] })).toBe("one of a, b");
  });
});
