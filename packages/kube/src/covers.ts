/**
 * Whether an object as the server holds it says all that was asked for: the server adds defaults and writes quantities in
 * its own way, and neither is a difference. Applying only where this is false keeps a steady state free of writes.
 */

/** True where everything in `wanted` is in `present`. */
export function covers(present: unknown, wanted: unknown): boolean {
  if (Array.isArray(wanted)) {
    const there: readonly unknown[] | undefined = Array.isArray(present) ? present : undefined;
    return (
      there !== undefined &&
      there.length === wanted.length &&
      wanted.every((item, at) => covers(there[at], item))
    );
  }
  if (typeof wanted === "object" && wanted !== null) {
    return Object.entries(wanted).every(
      ([key, value]) => value === undefined || covers(fieldOf(present, key), value),
    );
  }
  return present === wanted || sameQuantity(present, wanted) || isUnset(present, wanted);
}

function fieldOf(value: unknown, key: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  return Object.getOwnPropertyDescriptor(value, key)?.value;
}

/** The server leaves zero values out. */
function isUnset(present: unknown, wanted: unknown): boolean {
  return present === undefined && (wanted === "" || wanted === false || wanted === 0);
}

const QUANTITY = /^(\d+(?:\.\d+)?)(m|k|Ki|M|Mi|G|Gi|T|Ti)?$/;
const FACTORS: Readonly<Record<string, number>> = {
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

function sameQuantity(left: unknown, right: unknown): boolean {
  const [a, b] = [quantity(left), quantity(right)];
  return a !== undefined && a === b;
}

function quantity(value: unknown): number | undefined {
  const match = typeof value === "string" ? QUANTITY.exec(value) : null;
  return match === null ? undefined : Number(match[1]) * (FACTORS[match[2] ?? ""] ?? 1);
}
