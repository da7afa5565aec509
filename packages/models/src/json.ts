/** Reads fields of a JSON object that somebody else wrote, naming file, field and value where one is wrong (X1). */
import { OarlockError } from "@oarlock/errors";

export type JsonObject = Readonly<Record<string, unknown>>;

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Parses a file's text. Throws `MODEL_FILE` where it holds no JSON object. */
export function parseObject(file: string, text: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new OarlockError("MODEL_FILE", `${file} is no JSON`, { cause });
  }
  if (isObject(value)) return value;
  throw new OarlockError("MODEL_FILE", `${file} holds no JSON object`);
}

/** What a field may be. */
export interface NumberBounds {
  readonly min: number;
  readonly max: number;
  readonly whole?: boolean;
  /** Where the field is absent or null. Without one, it is required. */
  readonly default?: number;
}

/** Typed access to the fields of one object. */
export interface FieldReader {
  number(field: string, bounds: NumberBounds): number;
  flag(field: string, fallback: boolean): boolean;
  /** Throws `code` with file, field, value and what is accepted. */
  refuse(field: string, value: unknown, accepted: string): never;
}

/** A reader of `object`, which came from `file`; failures carry `code`. */
export function fieldReader(file: string, object: JsonObject, code: string): FieldReader {
  const refuse = (field: string, value: unknown, accepted: string): never => {
    const shown = value === undefined ? "absent" : JSON.stringify(value, (_, part: unknown) => plain(part));
    throw new OarlockError(code, `${file}: ${field} is ${shown.slice(0, 200)}; accepted: ${accepted}`);
  };
  return {
    refuse,
    number(field, { min, max, whole = true, default: fallback }) {
      const stated = object[field] ?? fallback;
      const value = typeof stated === "bigint" ? Number(stated) : stated;
      const fits =
        typeof value === "number" && value >= min && value <= max && (!whole || Number.isInteger(value));
      if (fits) return value;
      return refuse(field, object[field], `a ${whole ? "whole " : ""}number from ${min} to ${max}`);
    },
    flag(field, fallback) {
      const stated = object[field] ?? fallback;
      return typeof stated === "boolean" ? stated : refuse(field, stated, "true or false");
    },
  };
}

const plain = (part: unknown): unknown => (typeof part === "bigint" ? String(part) : part);
