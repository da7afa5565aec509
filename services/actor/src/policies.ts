/**
 * Which weights an actor holds and which its generator runs on. A version is served only after its digest was verified
 * by the store that fetched it (W2); the cache is bounded (Q1). Knows nothing of work items or of time.
 */
import type { Generator } from "@oarlock/generation";
import { isSamePolicy } from "@oarlock/run";
import type { PolicyVersion } from "@oarlock/run";
import { waitFor } from "@oarlock/runtime";

/** Where verified weights come from. */
export interface PolicySource {
  /** The flat weights of exactly this version, their digest verified; rejects where it cannot be had. */
  fetch(policy: PolicyVersion, signal?: AbortSignal): Promise<Float32Array>;
  /** What is announced now, and by which incarnation of the learner. */
  current(): Promise<{ readonly incarnation: number } | undefined>;
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
  readonly generator: Pick<Generator, "load">;
  /** Versions kept in memory. Default 2: lockstep alternates between neighbours. */
  readonly capacity?: number;
}

/** A version that cannot be fetched for so long hands the work back. */
const FETCH_TIMEOUT_MS = 60_000;

function fetchWithin(
  source: PolicySource,
  policy: PolicyVersion,
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  const wait = { timeoutMs: FETCH_TIMEOUT_MS, ...(signal === undefined ? {} : { signal }) };
  return waitFor(
    `policy version ${policy.number} from the policy store`,
    (s) => source.fetch(policy, s),
    wait,
  );
}

/** A holder with nothing loaded. Calls of `ensure` must not overlap: the order of loads is the order of work. */
export function createPolicyHolder(options: PolicyHolderOptions): PolicyHolder {
  const { source, generator, capacity = 2 } = options;
  let held: readonly HeldPolicy[] = [];
  let loaded: PolicyVersion | undefined;

  return {
    async ensure(policy, signal) {
      if (loaded !== undefined && isSamePolicy(loaded, policy)) return;
      const known = held.find((candidate) => isSamePolicy(candidate.policy, policy));
      const weights = known?.weights ?? (await fetchWithin(source, policy, signal));
      const others = held.filter((candidate) => !isSamePolicy(candidate.policy, policy));
      held = [...others, { policy, weights }].slice(-capacity);
      // A load that fails leaves the generator on weights that nobody vouches for.
      loaded = undefined;
      await generator.load(weights, policy, signal);
      loaded = policy;
    },
    held: () => held.map(({ policy }) => policy),
    loaded: () => loaded,
  };
}
