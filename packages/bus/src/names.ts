/** Which names a bus takes: what both drivers can store without escaping. */
import { OarlockError } from "@oarlock/errors";

const NAME = /^[A-Za-z0-9_-]{1,128}$/;
const KEY = /^[A-Za-z0-9_=/-]+(\.[A-Za-z0-9_=/-]+)*$/;
const OBJECT = /^[\x21-\x7e]{1,255}$/;
const SUBJECT_TOKEN = /^[A-Za-z0-9_-]+$/;

function refuse(what: string, name: string, accepted: string): OarlockError {
  return new OarlockError(
    "BUS_NAME_INVALID",
    `${what} ${JSON.stringify(name.slice(0, 200))}; accepted: ${accepted}`,
  );
}

/** Streams, consumers and buckets. @throws OarlockError `BUS_NAME_INVALID`. */
export function checkName(what: string, name: string): void {
  if (!NAME.test(name)) throw refuse(what, name, '1 to 128 letters, digits, "_" or "-"');
}

/** Keys of key-value buckets. @throws OarlockError `BUS_NAME_INVALID`. */
export function checkKey(key: string): void {
  if (!KEY.test(key) || key.length > 255)
    throw refuse("key", key, 'letters, digits and "-_/=.", 255 at most');
}

/** Names of objects. @throws OarlockError `BUS_NAME_INVALID`. */
export function checkObjectName(name: string): void {
  if (!OBJECT.test(name)) throw refuse("object name", name, "1 to 255 visible ASCII characters");
}

/** Subjects that a stream stores. @throws OarlockError `BUS_NAME_INVALID`. */
export function checkSubjectPattern(pattern: string): void {
  const tokens = pattern.split(".");
  const valid = tokens.every(
    (token, index) =>
      SUBJECT_TOKEN.test(token) || token === "*" || (token === ">" && index === tokens.length - 1),
  );
  if (!valid)
    throw refuse("subject pattern", pattern, 'tokens of letters, digits, "_", "-" or "*", a last ">"');
}

/** Bounds of queues (Q1). @throws OarlockError `BUS_LIMIT_INVALID`. */
export function checkLimit(what: string, value: number): void {
  if (Number.isSafeInteger(value) && value >= 1) return;
  throw new OarlockError("BUS_LIMIT_INVALID", `${what} ${value}; accepted: a whole number from 1 on`);
}
