/**
 * Where a run that does not move is held up (L1): one clause from what lies on the bus and when the broker was last heard of.
 * Pure; it knows the places of a group's way and nothing of how they are asked.
 */
import type { ConsumerInfo } from "@oarlock/bus";
import type { ResolvedReward } from "@oarlock/runfile";
import type { OpenWait } from "@oarlock/runtime";

/** A place that groups pass, in the words of the line. */
export interface Place {
  /** "the actors". */
  readonly who: string;
  /** What they take: "pieces of work". */
  readonly what: string;
  /** Why it may take long with what it has in hand. */
  readonly mayTake?: string;
  readonly reader: Pick<ConsumerInfo, "pending" | "ackPending">;
  /** Age of the oldest message of its stream. */
  readonly oldestMs: number;
}

export interface BusFacts {
  /** Since the broker last answered. */
  readonly silentMs: number;
  /** In the order of a group's way. */
  readonly places: readonly Place[];
}

/** A broker that was asked so long ago and has not answered is gone. */
export const SILENT_MS = 6_000;

/** A wait for the broker that is younger explains nothing. */
const LONG_WAIT_MS = 1_000;

/** "held up at …": the oldest operation that the broker owes this process, or "". */
export function heldUpHere(waits: readonly Pick<OpenWait, "name" | "ageMs">[]): string {
  const owed = waits.find(({ name, ageMs }) => name.startsWith("nats-server ") && ageMs >= LONG_WAIT_MS);
  return owed === undefined
    ? ""
    : `held up at the broker: ${(owed.ageMs / 1000).toFixed(1)} s waited for ${owed.name}`;
}

/** "held up at …", or "" where nothing on the bus explains it. */
export function heldUp({ silentMs, places }: BusFacts): string {
  if (silentMs >= SILENT_MS) {
    return `held up at the broker: it has not answered for ${(silentMs / 1000).toFixed(1)} s`;
  }
  const causes = places.filter(({ reader }) => reader.pending + reader.ackPending > 0).map(clauseOf);
  return causes.length === 0 ? "" : `held up at ${causes.join("; and at ")}`;
}

function clauseOf({ who, what, mayTake = "", reader, oldestMs }: Place): string {
  const { pending, ackPending } = reader;
  const gone = ackPending === 0 ? ": nobody takes any" : "";
  const age = `the oldest ${(oldestMs / 1000).toFixed(1)} s old`;
  const long = ackPending === 0 || mayTake === "" ? "" : ` (${mayTake})`;
  return `${who}: ${ackPending} ${what} in hand, ${pending} not taken, ${age}${gone}${long}`;
}

/** Of functions: one that does not come back is waited for, sample by sample, before anybody hears of it. */
export function scoringMayTake(
  rewards: readonly Pick<ResolvedReward, "name" | "type" | "timeoutMs">[],
): string {
  const functions = rewards.filter(({ type }) => type === "function");
  const limits = new Set(functions.map(({ name, timeoutMs }) => `${name} ${timeoutMs} ms`));
  return limits.size === 0
    ? ""
    : `a sample may take up to twice the timeoutMs of a function: ${[...limits].join(", ")}`;
}
