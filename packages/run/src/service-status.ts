/** What every service says about itself, in the contract's terms (L1, P1). Pure: facts in, message out. */
import { ServiceStatusSchema, create, durationFromMs } from "@oarlock/proto";
import type { ServiceStatus } from "@oarlock/proto";

/** Measured by the service; times in milliseconds. */
export interface ServiceFacts {
  /** Role and number, e.g. "actor-0". */
  readonly instance: string;
  readonly version: string;
  readonly uptimeMs: number;
  readonly draining: boolean;
  readonly waits: readonly { readonly name: string; readonly ageMs: number; readonly remainingMs: number }[];
  readonly queues: readonly { readonly name: string; readonly depth: number; readonly capacity: number }[];
  readonly loopDelay: { readonly p50Ms: number; readonly p99Ms: number };
  readonly fingerprintDigest: string;
}

/** The message of those facts. */
export function serviceStatus(facts: ServiceFacts): ServiceStatus {
  const { instance, version, draining, fingerprintDigest } = facts;
  return create(ServiceStatusSchema, {
    instance,
    version,
    draining,
    fingerprintDigest,
    uptime: durationFromMs(Math.round(facts.uptimeMs)),
    waits: facts.waits.map(({ name, ageMs, remainingMs }) => ({
      name,
      age: durationFromMs(Math.round(ageMs)),
      remaining: durationFromMs(Math.round(remainingMs)),
    })),
    queues: facts.queues.map(({ name, depth, capacity }) => ({
      name,
      depth: BigInt(depth),
      capacity: BigInt(capacity),
    })),
    eventLoopDelayP50: durationFromMs(Math.round(facts.loopDelay.p50Ms)),
    eventLoopDelayP99: durationFromMs(Math.round(facts.loopDelay.p99Ms)),
  });
}
