/**
 * Who said that it follows another plan than the run, and hands the run's work back (D1b, L1). Pure: for what is told to people;
 * it decides nothing.
 */
import { shortDigest } from "@oarlock/errors";

/** One process, as it was last heard of. */
export interface OtherPlanHeard {
  readonly instance: string;
  readonly planDigest: string;
  readonly heardMs: number;
}

/** Newest last. */
export type OtherPlans = readonly OtherPlanHeard[];

/** It is said again every ten seconds or so by who is asked for work; who is silent for longer is gone, or mended. */
const REMEMBERED_MS = 60_000;
/** Processes remembered at most. */
const MAX_REMEMBERED = 64;
/** Names in one sentence. */
const LISTED = 8;

/** With what was just heard. */
export function hearOtherPlan(known: OtherPlans, heard: OtherPlanHeard): OtherPlans {
  const others = known.filter(({ instance }) => instance !== heard.instance);
  return [...others, heard].slice(-MAX_REMEMBERED);
}

/** One sentence that names them, by plan, and the run's own; "" where nobody was heard lately. */
export function describeOtherPlans(known: OtherPlans, ownDigest: string, nowMs: number): string {
  const lately = known.filter(({ heardMs }) => nowMs - heardMs <= REMEMBERED_MS);
  const plans = [...new Set(lately.map(({ planDigest }) => planDigest))];
  if (plans.length === 0) return "";
  const groups = plans.map((plan) => {
    const names = lately.filter(({ planDigest }) => planDigest === plan).map(({ instance }) => instance);
    const more = names.length > LISTED ? `, … (${names.length})` : "";
    return `${names.toSorted().slice(0, LISTED).join(", ")}${more} (plan ${shortDigest(plan)})`;
  });
  const own = shortDigest(ownDigest);
  return `this run's plan is ${own}, and who follows another hands its work back: ${groups.join(", ")}`;
}
