/** What every service says about itself, in the contract's terms (L1, P1). Pure: facts in, message out. */
import { ServiceStatusSchema, create, durationFromMs } from "@oarlock/proto";
import type { ServiceStatus } from "@oarlock/proto";

export interface QueueFacts {
  readonly name: string;
  readonly depth: number;
  readonly capacity: number;
  /** Age of what has waited longest, where it is known. */
  readonly oldestMs?: number;
}

/** A device and what drives it, in words. */
export interface DeviceFacts {
  readonly provider: string;
  readonly device: string;
  readonly driver: string;
}

/** Measured by the service; times in milliseconds. */
export interface ServiceFacts {
  /** Role and number, e.g. "actor-0". */
  readonly instance: string;
  readonly version: string;
  readonly uptimeMs: number;
  readonly draining: boolean;
  readonly waits: readonly { readonly name: string; readonly ageMs: number; readonly remainingMs: number }[];
  readonly queues: readonly QueueFacts[];
  readonly loopDelay: { readonly p50Ms: number; readonly p99Ms: number };
  readonly fingerprintDigest: string;
  /** What it computes on, where it was probed. */
  readonly device?: DeviceFacts | undefined;
}

/** The message of those facts. */
export function serviceStatus(facts: ServiceFacts): ServiceStatus {
  const { instance, version, draining, fingerprintDigest, device } = facts;
  return create(ServiceStatusSchema, {
    instance,
    version,
    draining,
    fingerprintDigest,
    ...(device === undefined ? {} : { device }),
    uptime: durationFromMs(Math.round(facts.uptimeMs)),
    waits: facts.waits.map(({ name, ageMs, remainingMs }) => ({
      name,
      age: durationFromMs(Math.round(ageMs)),
      remaining: durationFromMs(Math.round(remainingMs)),
    })),
    queues: facts.queues.map(({ name, depth, capacity, oldestMs }) => ({
      name,
      depth: BigInt(depth),
      capacity: BigInt(capacity),
      ...(oldestMs === undefined ? {} : { oldest: durationFromMs(Math.round(oldestMs)) }),
    })),
    eventLoopDelayP50: durationFromMs(Math.round(facts.loopDelay.p50Ms)),
    eventLoopDelayP99: durationFromMs(Math.round(facts.loopDelay.p99Ms)),
  });
}
