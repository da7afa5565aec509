/**
 * Which weights an actor holds and which its generator runs on. A version is served only after its digest was verified
 * by the store that fetched it (W2); the cache is bounded (Q1). Knows nothing of work items or of time.
 */
import type { Generator } from "@oarlock/generation";
import { isSamePolicy } from "@oarlock/run";
import type { PolicyVersion } from "@oarlock/run";
import { traced, waitFor } from "@oarlock/runtime";
import type { Span, TraceContext, Tracer } from "@oarlock/runtime";
import { policyAttributes } from "@oarlock/telemetry";

/** Where verified weights come from. */
export interface PolicySource {
  /** The flat weights of exactly this version, their digest verified; rejects where it cannot be had. */
  fetch(
    policy: PolicyVersion,
    signal?: AbortSignal,
    onFound?: (found: { readonly trace: TraceContext | undefined }) => void,
  ): Promise<Float32Array>;
  /** What is announced now, and by which incarnation of the learner. */
  current(): Promise<Announcement | undefined>;
  /** The current announcement, then every later one; a slow reader sees the newest. */
  watch(signal?: AbortSignal): AsyncIterable<Announcement>;
}

/** The versions that may be served, and whose they are (F1). */
export interface Announcement {
  /** The newest. */
  readonly current: PolicyVersion;
  readonly held: readonly PolicyVersion[];
  readonly incarnation: number;
}

export interface PolicyHolder {
  /** Loads `policy` into the generator unless it is the one loaded; work submitted next runs on it. */
  ensure(policy: PolicyVersion, signal?: AbortSignal): Promise<void>;
  /** Verified versions, newest use last. */
  held(): readonly PolicyVersion[];
  /** The version that the generator runs on. */
  loaded(): PolicyVersion | undefined;
}

interface HeldPolicy {
  readonly policy: PolicyVersion;
  readonly weights: Float32Array;
}

export interface PolicyHolderOptions {
  readonly source: PolicySource;
  readonly generator: Pick<Generator, "load" | "switchTo">;
  /** Whether a version takes over in mid-sequence (streaming), or after what was submitted before it. Default false. */
  readonly inFlight?: boolean;
  readonly tracer: Tracer;
  /** Versions kept in memory. Default 2: lockstep alternates between neighbours. */
  readonly capacity?: number;
}

/** A version that cannot be fetched for so long hands the work back. */
const FETCH_TIMEOUT_MS = 60_000;

/** The weights, within the deadline; `span` links to their publication. */
export function fetchWithin(
  source: Pick<PolicySource, "fetch">,
  policy: PolicyVersion,
  span: Span,
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  const onFound = ({ trace }: { readonly trace: TraceContext | undefined }): void => {
    if (trace !== undefined) span.link({ context: trace, attributes: { "rl.link": "published by" } });
  };
  const wait = { timeoutMs: FETCH_TIMEOUT_MS, ...(signal === undefined ? {} : { signal }) };
  return waitFor(
    `policy version ${policy.number} from the policy store`,
    (s) => source.fetch(policy, s, onFound),
    wait,
  );
}

/** A holder with nothing loaded. Calls of `ensure` must not overlap: the order of loads is the order of work. */
export function createPolicyHolder(options: PolicyHolderOptions): PolicyHolder {
  const { source, generator, tracer, capacity = 2, inFlight = false } = options;
  let held: readonly HeldPolicy[] = [];
  let loaded: PolicyVersion | undefined;

  const load = async (policy: PolicyVersion, span: Span, signal?: AbortSignal): Promise<void> => {
    const known = held.find((candidate) => isSamePolicy(candidate.policy, policy));
    const weights = known?.weights ?? (await fetchWithin(source, policy, span, signal));
    const others = held.filter((candidate) => !isSamePolicy(candidate.policy, policy));
    held = [...others, { policy, weights }].slice(-capacity);
    // A load that fails leaves the generator on weights that nobody vouches for.
    loaded = undefined;
    await (inFlight ? generator.switchTo(weights, policy, signal) : generator.load(weights, policy, signal));
    loaded = policy;
  };

  return {
    async ensure(policy, signal) {
      if (loaded !== undefined && isSamePolicy(loaded, policy)) return;
      const attributes = policyAttributes(policy);
      await traced(tracer, { name: "load policy", attributes }, (span) => load(policy, span, signal));
    },
    held: () => held.map(({ policy }) => policy),
    loaded: () => loaded,
  };
}
