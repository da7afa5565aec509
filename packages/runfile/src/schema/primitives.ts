/**
 * The few building blocks that every part of the schema is made of, each with its bound.
 *
 * A Kubernetes structural schema allows no type unions and wants closed objects and bounded lists and strings; with
 * only these blocks nothing else can be said. Rules across fields carry their CEL form for the custom resource.
 */
import * as z from "zod";

/** RFC 1035 label of at most 40 characters: child objects append suffixes and stay within 63. */
export const NAME_PATTERN: RegExp = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;

/** A rule as Kubernetes states it, kept in the JSON schema under `x-kubernetes-validations`. */
export interface Rule {
  readonly rule: string;
  readonly message: string;
}

/** A closed object: unknown keys are errors. */
export function closed<S extends z.core.$ZodLooseShape>(shape: S): z.ZodObject<S, z.core.$strict> {
  return z.strictObject(shape);
}

/** A string of 1 to `max` characters, counted as the API server counts: by code point. */
export function text(max: number): z.ZodString {
  return z
    .string()
    .min(1)
    .superRefine((value, context) => {
      if (value.length <= max || Array.from(value).length <= max) return;
      context.addIssue({ code: "too_big", origin: "string", maximum: max, inclusive: true, input: value });
    })
    .meta({ maxLength: max });
}

/** A name: RFC 1035, at most 40 characters. */
export function name(): z.ZodString {
  return z.string().min(1).max(40).regex(NAME_PATTERN);
}

/** The name of an object on a cluster. */
export function objectName(): z.ZodString {
  return text(253).regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/);
}

/** A key of a Secret; `what` says what its value is. */
export function secretKey(
  what: string,
): z.ZodObject<{ name: z.ZodString; key: z.ZodString }, z.core.$strict> {
  return closed({
    name: objectName().describe("Secret in the run's namespace."),
    key: text(253).describe(what),
  });
}

/** A model that scores. */
export function scorerReference(): z.ZodString {
  return text(512).describe("stage/<name>, a reward model's folder, or hf://org/name[@revision].");
}

/** Where a model starts. */
export const START_REFERENCE: RegExp = /^(model|stage\/[a-z]([-a-z0-9]*[a-z0-9])?)$/;

/** The run's own model, or the result of an earlier stage. */
export function startReference(): z.ZodString {
  return z.string().min(5).max(46).regex(START_REFERENCE);
}

/** An integer in [min, max]; max defaults to 2^53 − 1, the largest that every reader keeps exact. */
export function integer(min: number, max: number = Number.MAX_SAFE_INTEGER): z.ZodInt {
  return z.int().min(min).max(max);
}

/** A finite number in [min, max]. */
export function real(min: number, max: number): z.ZodNumber {
  return z.number().min(min).max(max);
}

/** An object of fields that this schema does not know: whoever takes it checks it. */
export function preserved(): z.ZodObject<Record<never, never>, z.core.$loose> {
  return z.looseObject({}).meta({ "x-kubernetes-preserve-unknown-fields": true });
}

/** A list of `min` to `max` items. */
export function list<T extends z.ZodType>(item: T, min: number, max: number): z.ZodArray<T> {
  return z.array(item).min(min).max(max);
}

/** A list of blocks that are told apart by their `name`, in the order given. */
export function namedList<T extends z.ZodType<{ readonly name: string }>>(
  item: T,
  min: number,
  max: number,
): z.ZodArray<T> {
  return list(item, min, max)
    .superRefine(
      (items, context) => {
        const names = items.map((entry) => valueOf(entry, "name"));
        for (const [index, given] of names.entries()) {
          if (typeof given !== "string" || names.indexOf(given) === index) continue;
          const params = { code: "NAME_TWICE", accepted: "a name of its own" };
          const message = "this name is given twice";
          context.addIssue({ code: "custom", path: [index, "name"], message, params });
        }
      },
      { when: ({ value }) => Array.isArray(value) },
    )
    .meta({ "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"] });
}

function valueOf(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null
    ? Object.getOwnPropertyDescriptor(value, key)?.value
    : undefined;
}

export interface StringMapOptions {
  readonly maxKey: number;
  readonly maxValue: number;
  readonly maxEntries: number;
}

/** A map from text to text, such as labels. */
export function stringMap(options: StringMapOptions): z.ZodRecord<z.ZodString, z.ZodString> {
  const { maxKey, maxValue, maxEntries } = options;
  return z
    .record(z.string().max(maxKey), z.string().max(maxValue))
    .superRefine((value, context) => {
      if (Object.keys(value).length <= maxEntries) return;
      const params = { accepted: `at most ${maxEntries} entries` };
      context.addIssue({ code: "custom", message: "has too many entries", params });
    })
    .meta({ maxProperties: maxEntries });
}

/** A rule across fields in both forms: `holds` for the command line, `rule` (CEL) for the API server. */
export interface FieldRule<T> extends Rule {
  /** Which field to name, below the object. */
  readonly path: readonly string[];
  readonly accepted: string;
  /** Also asked where fields are wrong: must bear any object. */
  readonly holds: (value: T) => boolean;
}

/** Adds rules across the fields of an object. */
export function ruled<T extends z.ZodType>(object: T, rules: readonly FieldRule<z.output<T>>[]): T {
  return object
    .superRefine(
      (value, context) => {
        for (const { holds, message, path, accepted } of rules) {
          if (!holds(value))
            context.addIssue({ code: "custom", path: [...path], message, params: { accepted } });
        }
      },
      { when: isObjectPayload },
    )
    .meta({ "x-kubernetes-validations": rules.map(({ rule, message }) => ({ rule, message })) });
}

/** A value out of a closed list of words. */
export function choice<const W extends readonly [string, ...string[]]>(
  words: W,
): z.ZodEnum<{ [K in W[number]]: K }> {
  return z.enum(words);
}

export interface UnionOptions {
  /** Blocks whose fields all have defaults and may be left out. */
  readonly optionalBlocks?: readonly string[];
  /** A further block, and the types that it may stand beside. */
  readonly companion?: { readonly name: string; readonly types: readonly string[] };
}

/**
 * Turns a closed object with `type` and one optional block per type into a union: the block of the chosen type must
 * be there (unless `optionalBlocks` names it), the others must not.
 */
export function union<T extends z.ZodType>(
  object: T,
  types: readonly string[],
  options: UnionOptions = {},
): T {
  const optional = new Set(options.optionalBlocks ?? []);
  const rules: Rule[] = types.map((type) => ({
    rule: optional.has(type)
      ? `self.type == '${type}' || !has(self.${celField(type)})`
      : `(self.type == '${type}') == has(self.${celField(type)})`,
    message: optional.has(type)
      ? `block '${type}' is for type: ${type} only`
      : `type: ${type} needs the block '${type}', and only it`,
  }));
  const { companion } = options;
  if (companion !== undefined) {
    const words = companion.types.map((type) => `'${type}'`).join(", ");
    rules.push({
      rule: `!has(self.${companion.name}) || self.type in [${words}]`,
      message: `block '${companion.name}' is for types ${companion.types.join(", ")} only`,
    });
  }
  return object
    .superRefine(
      (value, context) =>
        checkUnion(value, { types, optional, companion, report: context.addIssue.bind(context) }),
      {
        when: isObjectPayload,
      },
    )
    .meta({ "x-kubernetes-validations": rules });
}

/** Rules across fields run also where a field is wrong, so that one reading reports everything. */
export function isObjectPayload(payload: z.core.ParsePayload): boolean {
  return typeof payload.value === "object" && payload.value !== null && !Array.isArray(payload.value);
}

interface UnionCheck {
  readonly types: readonly string[];
  readonly optional: ReadonlySet<string>;
  readonly companion: UnionOptions["companion"];
  readonly report: (issue: z.core.$ZodSuperRefineIssue) => void;
}

function checkUnion(value: unknown, { types, optional, companion, report }: UnionCheck): void {
  const given = new Map(Object.entries(value ?? {}));
  const chosen = given.get("type");
  if (typeof chosen !== "string" || !types.includes(chosen)) return;
  if (companion !== undefined) checkCompanion(given, chosen, { companion, report });
  for (const type of types) {
    const present = given.get(type) !== undefined;
    if (present && type !== chosen) {
      const message = `block '${type}' is for type: ${type}, and type is ${chosen}`;
      report({
        code: "custom",
        path: [type],
        message,
        params: { accepted: `no '${type}' here, or type: ${type}` },
      });
    }
    if (!present && type === chosen && !optional.has(type)) {
      const message = `type: ${type} needs a block '${type}: {…}' beside it`;
      report({ code: "custom", path: ["type"], message, params: { accepted: `a block '${type}: {…}'` } });
    }
  }
}

function checkCompanion(
  given: ReadonlyMap<string, unknown>,
  chosen: string,
  { companion, report }: Pick<UnionCheck, "report"> & Required<Pick<UnionOptions, "companion">>,
): void {
  const { name: block, types } = companion;
  if (given.get(block) === undefined || types.includes(chosen)) return;
  const among = types.join(", ");
  report({
    code: "custom",
    path: [block],
    message: `block '${block}' is for types ${among}, and type is ${chosen}`,
    params: { accepted: `no '${block}' here, or one of the types ${among}` },
  });
}

/** CEL escapes its reserved words and dashes: `function` is written `__function__`, `a-b` `a__dash__b`. */
function celField(field: string): string {
  return CEL_RESERVED.has(field) ? `__${field}__` : field.replaceAll("-", "__dash__");
}

const CEL_RESERVED = new Set([
  "function",
  "in",
  "if",
  "for",
  "let",
  "loop",
  "package",
  "namespace",
  "return",
  "var",
  "while",
]);
