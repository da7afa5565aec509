/** What actors and reward workers of another plan say: told to people once each, and kept for those who ask later (L1, D1b). */
import type { OtherPlan } from "@oarlock/proto";
import { describeOtherPlans, hearOtherPlan } from "@oarlock/run";
import type { OtherPlans } from "@oarlock/run";
import type { Clock, Log } from "@oarlock/runtime";

export interface OtherPlansHeard {
  hear(said: OtherPlan): void;
  /** Who they are, or "". */
  described(): string;
}

/** `fingerprint` is the digest of the run's own plan. */
export function createOtherPlans(options: {
  readonly fingerprint: string;
  readonly clock: Clock;
  readonly log: Log;
}): OtherPlansHeard {
  const { fingerprint, clock, log } = options;
  let known: OtherPlans = [];
  return {
    hear({ instance, planDigest }) {
      const isKnown = known.some((one) => one.instance === instance && one.planDigest === planDigest);
      if (!isKnown) log.warn(`${instance} follows another plan`, { its: planDigest, ours: fingerprint });
      known = hearOtherPlan(known, { instance, planDigest, heardMs: clock.monotonicMs() });
    },
    described: () => describeOtherPlans(known, fingerprint, clock.monotonicMs()),
  };
}
