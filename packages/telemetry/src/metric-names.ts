/** How an instrument's name looks in Prometheus: its unit behind it, counters end in `_total`. Pure. */
import type { Instrument } from "@oarlock/runtime";

const UNIT_NAMES: Readonly<Record<string, string>> = { s: "seconds", By: "bytes" };

/** The unit in words, as names have it; "" where names have none. */
export function unitName(unit: string, kind: Instrument["kind"]): string {
  return unit === "1" && kind === "gauge" ? "ratio" : (UNIT_NAMES[unit] ?? "");
}

/** The name with its unit, without what counters have behind it. */
export function nameWithUnit(name: string, unit: string, kind: Instrument["kind"]): string {
  const words = unitName(unit, kind);
  return words === "" || name.endsWith(words) ? name : `${name}_${words}`;
}

/** The name in the exposition. */
export function prometheusName({ name, unit, kind }: Instrument): string {
  const named = nameWithUnit(name, unit, kind).replaceAll(/[^a-zA-Z0-9_]/g, "_");
  return kind === "counter" && !named.endsWith("_total") ? `${named}_total` : named;
}
