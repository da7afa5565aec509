/**
 * Guards: what of a stage's metrics is an alarm, and what follows. A pure reducer over the metrics of each step; its state is
 * plain JSON and goes into the checkpoint (T3), so that a guarded run alarms at the same step whatever died in between (D1).
 *
 * Each guard has a strain: 0 where things are as at the stage's start, 1 at its limit. It is computed from means over `window`
 * steps, and beyond 1 it is an alarm:
 *
 *   kl              KL / limit                                     KL: nats a completion, to the policy at the stage's start
 *   entropy         (1 − H / H₀) / (1 − limit)                     H₀, L₀, T₀: means over the stage's first window
 *   value-loss      (L / L₀ − 1) / (limit − 1)
 *   length          (max(T / T₀, T₀ / T) − 1) / (limit − 1)
 *   rejected-updates  R / limit                                  R: share of updates, of policy or critic, that were not finite (W3)
 *   reward-hacking  (gold* − gold) / limit if proxy > proxy*       gold*: the highest mean so far, proxy*: the reward's then
 *
 * The last is Goodhart's law as Gao et al. measured it (arXiv:2210.10760): what is optimised rises, what was meant falls.
 * A number that is not finite is an alarm at once.
 */
import type { ResolvedGuard } from "@oarlock/runfile";
import type { Transition } from "./transition.ts";

type Metrics = Readonly<Record<string, number>>;

/** What a guard saw in one step. */
interface Reading {
  readonly value: number;
  /** The reward in training; 0 where the guard does not compare with it. */
  readonly proxy: number;
}

/** What one guard remembers. */
export interface GuardWatch {
  /** The newest readings, `window` at most. */
  readonly seen: readonly Reading[];
  /** Means over the first window. */
  readonly base?: Reading;
  /** The means when the value was highest. */
  readonly peak?: Reading;
  readonly strain: number;
}

/** By the guard's name. */
export type GuardState = Readonly<Record<string, GuardWatch>>;

/** A guard that fired. */
export interface Alarm {
  readonly guard: string;
  readonly reaction: ResolvedGuard["reaction"];
  /** One sentence for people. */
  readonly message: string;
}

/** Strain up to which a policy counts as good: half way to the limit. */
const GOOD_STRAIN = 0.5;

const NOTHING_SEEN: GuardWatch = { seen: [], strain: 0 };

/** Of several metrics, the highest counts. */
const READ: { readonly [T in ResolvedGuard["watch"]]: (guard: ResolvedGuard) => readonly string[] } = {
  "reward-hacking": ({ gold }) => [`gold/${gold}/mean`],
  kl: () => ["actor/kl_per_sample"],
  entropy: () => ["actor/entropy"],
  "value-loss": () => ["critic/vf_loss"],
  length: () => ["response_length/mean"],
  "rejected-updates": () => ["actor/update_rejected", "critic/update_rejected"],
};
const PROXY = "critic/score/mean";

const STRAINS: {
  readonly [T in ResolvedGuard["watch"]]: (
    now: Reading,
    of: { readonly limit: number; readonly base: Reading; readonly peak: Reading },
  ) => number;
} = {
  "reward-hacking": (now, { limit, peak }) =>
    now.proxy > peak.proxy ? Math.max(0, peak.value - now.value) / limit : 0,
  kl: (now, { limit }) => now.value / limit,
  entropy: (now, { limit, base }) => (base.value > 0 ? (1 - now.value / base.value) / (1 - limit) : 0),
  "value-loss": (now, { limit, base }) => (base.value > 0 ? (now.value / base.value - 1) / (limit - 1) : 0),
  length(now, { limit, base }) {
    if (base.value <= 0 || now.value <= 0) return 0;
    return (Math.max(now.value / base.value, base.value / now.value) - 1) / (limit - 1);
  },
  "rejected-updates": (now, { limit }) => now.value / limit,
};

/** Takes in the metrics of one step. A guard whose number the step does not have keeps its state. */
export function watchGuards(
  state: GuardState,
  guards: readonly ResolvedGuard[],
  metrics: Metrics,
): Transition<GuardState, Alarm> {
  const watched = guards.map((guard) => ({
    guard,
    ...look(state[guard.name] ?? NOTHING_SEEN, guard, metrics),
  }));
  return {
    state: Object.fromEntries(watched.map(({ guard, watch }) => [guard.name, watch])),
    effects: watched.flatMap(({ guard, message }) =>
      message === undefined ? [] : [{ guard: guard.name, reaction: guard.reaction, message }],
    ),
  };
}

/** Whether no guard that would roll back is more than half way to its limit: the policy of now is one to go back to. */
export function isGood(state: GuardState, guards: readonly ResolvedGuard[]): boolean {
  return guards.every(
    ({ name, reaction }) => reaction !== "roll-back" || (state[name]?.strain ?? 0) <= GOOD_STRAIN,
  );
}

function look(
  before: GuardWatch,
  guard: ResolvedGuard,
  metrics: Metrics,
): { readonly watch: GuardWatch; readonly message?: string } {
  const { name, value } = read(guard, metrics);
  const proxy = guard.watch === "reward-hacking" ? metrics[PROXY] : 0;
  if (value === undefined || proxy === undefined) return { watch: before };
  if (!Number.isFinite(value) || !Number.isFinite(proxy)) {
    const message = `${guard.name} (${guard.watch}): ${name} is ${value}`;
    return { watch: { ...before, seen: [], strain: Number.MAX_VALUE }, message };
  }
  const seen = [...before.seen, { value, proxy }].slice(-guard.window);
  if (seen.length < guard.window) return { watch: { ...before, seen } };
  const now = meanOf(seen);
  const base = before.base ?? now;
  const peak = before.peak === undefined || now.value > before.peak.value ? now : before.peak;
  const strain = STRAINS[guard.watch](now, { limit: guard.limit, base, peak });
  const watch = { seen, base, peak, strain };
  if (strain <= 1) return { watch };
  // After an alarm it takes a whole window until the next: the reaction gets the time to have an effect.
  return { watch: { ...watch, seen: [] }, message: describe(guard, { name, now, base, peak }) };
}

function read(
  guard: ResolvedGuard,
  metrics: Metrics,
): { readonly name: string; readonly value: number | undefined } {
  const found = READ[guard.watch](guard).map((name) => ({ name, value: metrics[name] }));
  const worst = found.reduce((a, b) => ((b.value ?? -Infinity) > (a.value ?? -Infinity) ? b : a));
  return found.find(({ value }) => Number.isNaN(value)) ?? worst;
}

const meanOf = (readings: readonly Reading[]): Reading => ({
  value: readings.reduce((sum, { value }) => sum + value, 0) / readings.length,
  proxy: readings.reduce((sum, { proxy }) => sum + proxy, 0) / readings.length,
});

function describe(
  { name, watch, limit, window }: ResolvedGuard,
  found: { readonly name: string; readonly now: Reading; readonly base: Reading; readonly peak: Reading },
): string {
  const { now, base, peak } = found;
  const text = (value: number): string => Number(value.toPrecision(4)).toString();
  const over = `mean of ${window} steps`;
  if (watch === "reward-hacking") {
    return (
      `${name}: ${found.name} fell from ${text(peak.value)} to ${text(now.value)} (limit ${limit}, ${over}) ` +
      `while the reward rose from ${text(peak.proxy)} to ${text(now.proxy)}`
    );
  }
  const start = watch === "kl" || watch === "rejected-updates" ? "" : `, ${text(base.value)} at the start`;
  return `${name}: ${found.name} is ${text(now.value)}${start} (limit ${limit}, ${over})`;
}
