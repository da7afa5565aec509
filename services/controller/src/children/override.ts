/**
 * A user's pod template over the controller's: objects merge, lists whose items have a name merge by it, and other lists
 * are replaced. What the controller selects pods by stays. It knows no field: the API server checks the outcome. Pure.
 */
import type { Fields } from "./pod-parts.ts";

/** What tells the items of a list apart, the first that all of them have. */
const KEYS = ["name", "mountPath", "containerPort"] as const;

/** Labels and annotations of ours begin with this. */
const OWN = /^(oarlock\.dev|app\.kubernetes\.io)\//;

/** The template with the override on top. */
export function overridden(base: Fields, override: Fields | undefined): Fields {
  if (override === undefined) return base;
  const merged = merge(base, withoutOwnLabels(override));
  return isFields(merged) ? merged : base;
}

/** Pods are found by their labels: an override that changed them would lose its pods. */
function withoutOwnLabels(override: Fields): Fields {
  const { metadata } = override;
  if (!isFields(metadata) || !isFields(metadata["labels"])) return override;
  const labels = Object.entries(metadata["labels"]).filter(([name]) => !OWN.test(name));
  return { ...override, metadata: { ...metadata, labels: Object.fromEntries(labels) } };
}

function merge(base: unknown, over: unknown): unknown {
  if (Array.isArray(base) && Array.isArray(over)) return mergeLists(base, over);
  if (!isFields(base) || !isFields(over)) return over;
  const names = [...new Set([...Object.keys(base), ...Object.keys(over)])];
  return Object.fromEntries(
    names.map((name) => [name, name in over ? merge(base[name], over[name]) : base[name]]),
  );
}

function mergeLists(base: readonly unknown[], over: readonly unknown[]): readonly unknown[] {
  const key = KEYS.find((name) => [...base, ...over].every((item) => isFields(item) && name in item));
  if (key === undefined) return over;
  const of = (item: unknown): unknown => (isFields(item) ? item[key] : undefined);
  const kept = base.map((item) => {
    const match = over.find((candidate) => of(candidate) === of(item));
    return match === undefined ? item : merge(item, match);
  });
  return [...kept, ...over.filter((item) => !base.some((candidate) => of(candidate) === of(item)))];
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
