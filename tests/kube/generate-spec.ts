/**
 * Run files made from the schema: mostly right, with slips of the kinds that people make. For tests that compare who
 * accepts what; knows nothing of who judges.
 */
import fc from "fast-check";
import { runFileJsonSchema, type SchemaNode } from "@oarlock/runfile";

/** A run file, as plain data; metadata is always right, so that the objects can be made. */
export function runFiles(): fc.Arbitrary<object> {
  const node = runFileJsonSchema().properties?.["spec"];
  if (node === undefined) throw new Error("the run file has no spec");
  const slips = fc.array(fc.tuple(fc.nat(), fc.constantFrom(...SLIPS)), { minLength: 0, maxLength: 2 });
  return fc.tuple(arbitrary(node), slips).map(([spec, chosen]) => ({
    apiVersion: "oarlock.dev/v1alpha1",
    kind: "TrainingRun",
    metadata: { name: "specimen" },
    spec: chosen.reduce((before, [at, slip]) => changeAt(before, at, slip), mend(spec)),
  }));
}

function arbitrary(node: SchemaNode): fc.Arbitrary<unknown> {
  if (node.enum !== undefined) return fc.constantFrom(...node.enum);
  return ofType(node, node.type ?? "string");
}

function ofType(node: SchemaNode, type: NonNullable<SchemaNode["type"]>): fc.Arbitrary<unknown> {
  switch (type) {
    case "string":
      return texts(node);
    case "object":
      return objects(node);
    case "array":
      return fc.uniqueArray(node.items === undefined ? fc.constant(0) : arbitrary(node.items), {
        minLength: node.minItems ?? 0,
        maxLength: Math.min(node.maxItems ?? 3, Math.max(3, node.minItems ?? 0)),
        selector: nameOf,
      });
    case "integer":
      return fc.integer({ min: node.minimum ?? 0, max: Math.min(node.maximum ?? 9, 2 ** 31) });
    case "number":
      return fc.double({ min: node.minimum ?? 0, max: node.maximum ?? 1, noNaN: true });
    case "boolean":
      return fc.boolean();
  }
}

function objects(node: SchemaNode): fc.Arbitrary<unknown> {
  if (typeof node.additionalProperties === "object")
    return fc.constantFrom({}, { "oarlock.dev/pool": "a" }, { disk: "ssd" });
  const properties = node.properties ?? {};
  const union = properties["type"]?.enum;
  const blocks = new Set(union ?? []);
  const required = new Set(node.required ?? []);
  const fields = Object.entries(properties).filter(([name]) => !blocks.has(name));
  const record = fc.record(Object.fromEntries(fields.map(([name, child]) => [name, arbitrary(child)])), {
    requiredKeys: fields.map(([name]) => name).filter((name) => required.has(name)),
  });
  if (union === undefined) return record;
  return record.chain((value: Record<string, unknown>) => {
    const type = String(value["type"]);
    const block = properties[type];
    return block === undefined
      ? fc.constant(value)
      : arbitrary(block).map((inside) => ({ ...value, [type]: inside }));
  });
}

/** Lists told apart by a name hold each once. */
function nameOf(item: unknown): unknown {
  return typeof item === "object" && item !== null && "name" in item ? item.name : JSON.stringify(item);
}

type Plain = Record<string, unknown>;

/** Where a stage or a scorer takes its model from; a run's own model comes from elsewhere. */
const STAGE_REFERENCE = /^(model|stage\/.*)$/;

const scorerOf = (from: unknown): string =>
  typeof from === "string" && STAGE_REFERENCE.test(from) ? from : "hf://org/name";

/** What the rules across fields want, so that most files are right before the slips: they have tests of their own. */
function mend(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(mend);
  if (typeof value !== "object" || value === null) return value;
  const { from, url, ...rest } = value as Plain;
  const mended: Plain = Object.fromEntries(Object.entries(rest).map(([key, child]) => [key, mend(child)]));
  if (Array.isArray(from)) mended["from"] = from.map(scorerOf);
  else if (from !== undefined && mended["init"] === undefined) mended["from"] = scorerOf(from);
  if (url !== undefined && mended["urlSecretRef"] === undefined) mended["url"] = url;
  if (mended["acceptLoss"] !== undefined) mended["acceptLoss"] = true;
  if (mended["tolerationSeconds"] !== undefined) mended["effect"] = "NoExecute";
  if (mended["model"] !== undefined && Object.keys(mended["model"] as Plain).length === 0)
    mended["model"] = { from: "hf://org/name" };
  if (isPlain(mended["nats"])) mended["nats"] = mendNats(mended["nats"]);
  if (mended["service"] !== undefined && !["http", "grpc", "judge"].includes(String(mended["type"])))
    delete mended["service"];
  // A certificate and its key, and a token from one place.
  if ((mended["certFile"] === undefined) !== (mended["keyFile"] === undefined)) delete mended["certFile"];
  if (mended["certFile"] === undefined) delete mended["keyFile"];
  if (mended["tokenEnv"] !== undefined) delete mended["tokenFile"];
  const { clip } = mended;
  if (typeof clip === "object" && clip !== null && "min" in clip) mended["clip"] = { min: -1, max: 1 };
  if (isPlain(mended["pipeline"])) mended["pipeline"] = mendPipeline(mended["pipeline"]);
  if (Array.isArray(mended["roles"])) mended["roles"] = mended["roles"].map(mendRole);
  return mended;
}

const isPlain = (value: unknown): value is Plain => typeof value === "object" && value !== null;

/** One server, and TLS beside one that is there. */
function mendNats({ url = "nats://nats:4222", urlSecretRef, managed, tls }: Plain): Plain {
  if (managed !== undefined && tls === undefined) return { managed };
  const beside = tls === undefined ? {} : { tls };
  return { ...(urlSecretRef === undefined ? { url } : { urlSecretRef }), ...beside };
}

/** Each mode has fields of its own. */
function mendPipeline({ lag, maxStaleness, correction, ...rest }: Plain): Plain {
  if (rest["mode"] !== "streaming") return { ...rest, ...(lag === undefined ? {} : { lag }) };
  const isNone = isPlain(correction) && correction["level"] === "none";
  return {
    ...rest,
    ...(maxStaleness === undefined ? {} : { maxStaleness }),
    ...(correction === undefined ? {} : { correction: isNone ? { level: "none" } : correction }),
  };
}

function mendRole(role: Plain): Plain {
  const { replicas, minReplicas, maxReplicas, scaling, ...rest } = role;
  if (rest["name"] === "learner") return { ...rest, ...(replicas === undefined ? {} : { replicas: 1 }) };
  return {
    ...rest,
    ...(scaling === undefined ? {} : { scaling }),
    ...(minReplicas === undefined ? {} : { minReplicas: 1 }),
    ...(replicas === undefined ? {} : { replicas: 2 }),
    ...(maxReplicas === undefined ? {} : { maxReplicas: 3 }),
  };
}

/** A text that fits its pattern, by example: patterns are few. */
function texts({ pattern, minLength = 0, maxLength = 8 }: SchemaNode): fc.Arbitrary<unknown> {
  if (pattern === undefined)
    return fc.string({ unit: "grapheme", minLength, maxLength: Math.min(maxLength, 6) });
  const fitting = EXAMPLES.filter((example) => new RegExp(pattern).test(example));
  if (fitting.length === 0) throw new Error(`no example for ${pattern}`);
  return fc.constantFrom(...fitting);
}

const EXAMPLES = [
  "a",
  "b-1",
  "model",
  "stage/a",
  "think",
  "hf://datasets/org/name",
  "500m",
  "4Gi",
  "10Gi",
  "nats://nats:4222",
  "im",
  "SCORER_TOKEN",
  "stage/b",
  "http://scorer/score",
  "scorer:50051",
];

type Slip = (parent: Record<string, unknown>, key: string) => void;

/** What people get wrong. */
const SLIPS: readonly Slip[] = [
  (parent, key) => void delete parent[key],
  (parent, key) => void (parent[`${key}s`] = parent[key]),
  (parent, key) => void (parent[`${key}s`] = null),
  (parent, key) => void (parent[key] = -1),
  (parent, key) => void (parent[key] = 0),
  (parent, key) => void (parent[key] = 1.5),
  (parent, key) => void (parent[key] = 1e300),
  (parent, key) => void (parent[key] = 2 ** 53),
  (parent, key) => void (parent[key] = ""),
  (parent, key) => void (parent[key] = "A b"),
  (parent, key) => void (parent[key] = "x".repeat(20_000)),
  (parent, key) => void (parent[key] = "𝕏".repeat(100)),
  (parent, key) => void (parent[key] = true),
  (parent, key) => void (parent[key] = {}),
  (parent, key) => void (parent[key] = []),
  (parent, key) => void (parent[key] = null),
  (parent, key) => {
    const value = parent[key];
    if (Array.isArray(value)) parent[key] = [...value, ...value];
  },
  (parent, key) => {
    const value = parent[key];
    parent[key] = typeof value === "number" ? String(value) : [value, null];
  },
];

/** Applies a slip to one field, chosen by number among all fields at all depths. */
function changeAt(spec: unknown, at: number, slip: Slip): unknown {
  const copy: unknown = structuredClone(spec);
  const places: [Record<string, unknown>, string][] = [];
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) return value.forEach(visit);
    if (typeof value !== "object" || value === null) return;
    for (const [key, child] of Object.entries(value)) {
      places.push([value as Record<string, unknown>, key]);
      visit(child);
    }
  };
  visit(copy);
  const place = places[at % Math.max(1, places.length)];
  if (place !== undefined) slip(...place);
  return copy;
}
