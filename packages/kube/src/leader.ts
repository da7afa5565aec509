/**
 * Holds the lead of a group of controllers through a Lease. While it leads it renews; where it cannot for `renewDeadlineMs`,
 * `lost` rejects, and the process must exit: what it has in hand may be another's by then. The rule is `lease.ts`.
 */
import { OarlockError } from "@oarlock/errors";
import { type Clock, type Log, silentLog, sleep, systemClock, waitFor } from "@oarlock/runtime";
import { isStatus } from "./api-error.ts";
import type { KubeClient } from "./client.ts";
import { decideLease, type LeaseRecord, releasedLease, type SeenLease, seeLease } from "./lease.ts";
import type { KubeObject, ObjectRef, Resource } from "./object.ts";

const LEASES: Resource = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", plural: "leases" };

interface Lease extends KubeObject {
  readonly spec?: {
    readonly holderIdentity?: string;
    readonly leaseDurationSeconds?: number;
    readonly acquireTime?: string;
    readonly renewTime?: string;
    readonly leaseTransitions?: number;
  };
}

export interface LeaderOptions {
  readonly client: KubeClient;
  readonly lease: ObjectRef;
  readonly identity: string;
  /** Default 15 s. */
  readonly leaseSeconds?: number;
  /** Default 10 s; less than the lease. */
  readonly renewDeadlineMs?: number;
  /** Default 2 s. */
  readonly retryMs?: number;
  readonly clock?: Clock;
  readonly log?: Log;
}

/** The lead, while it lasts. */
export interface Lead {
  /** Rejects with `KUBE_LEAD_LOST` when it could not be renewed in time. */
  readonly lost: Promise<never>;
  /** Stops renewing and hands over at once. */
  release(): Promise<void>;
}

/** Waits until this candidate leads. */
export async function acquireLead(options: LeaderOptions, signal: AbortSignal): Promise<Lead> {
  const { retryMs = 2_000, clock = systemClock, log = silentLog } = options;
  const election = createElection(options);
  for (;;) {
    signal.throwIfAborted();
    try {
      if (await election.attempt(signal)) break;
    } catch (reason) {
      if (signal.aborted) throw reason;
      log.warn("could not reach for the lead", { err: reason });
    }
    await sleep(retryMs * (1 + 0.2 * Math.random()), { clock, signal });
  }
  log.info("leads", { identity: options.identity });
  return keepLead(options, election);
}

function keepLead(options: LeaderOptions, election: Election): Lead {
  const { renewDeadlineMs = 10_000, retryMs = 2_000, clock = systemClock, log = silentLog } = options;
  const stopping = new AbortController();
  const renew = async (): Promise<never> => {
    let renewedMs = clock.monotonicMs();
    for (;;) {
      await sleep(retryMs, { clock, signal: stopping.signal });
      const leftMs = renewedMs + renewDeadlineMs - clock.monotonicMs();
      if (leftMs <= 0) throw leadLost(options, "it was not renewed in time");
      try {
        const attempt = (inner: AbortSignal): Promise<boolean> => election.attempt(inner);
        const mine = await waitFor("renewal of the lease", attempt, { timeoutMs: leftMs, clock });
        if (!mine) throw leadLost(options, "another holds it");
        renewedMs = clock.monotonicMs();
      } catch (reason) {
        if (reason instanceof OarlockError && reason.code === "KUBE_LEAD_LOST") throw reason;
        log.warn("could not renew the lead", { err: reason });
      }
    }
  };
  const lost = renew();
  lost.catch(() => undefined);
  return {
    lost,
    async release() {
      stopping.abort();
      await lost.catch(() => undefined);
      await election.release();
    },
  };
}

function leadLost({ lease }: LeaderOptions, why: string): OarlockError {
  return new OarlockError("KUBE_LEAD_LOST", `lease ${lease.namespace}/${lease.name}: ${why}`);
}

interface Election {
  /** True where the lease is this candidate's afterwards. */
  attempt(signal: AbortSignal): Promise<boolean>;
  release(): Promise<void>;
}

function createElection(options: LeaderOptions): Election {
  const { client, lease, identity, leaseSeconds = 15, clock = systemClock } = options;
  let seen: SeenLease | undefined;
  let held: Lease | undefined;
  const time = (): string => microTime(clock.nowMs());
  const write = async (before: Lease | undefined, record: LeaseRecord, signal?: AbortSignal) => {
    const object = leaseObject(lease, before, record);
    const withSignal = signal === undefined ? {} : { signal };
    return before === undefined
      ? client.create(LEASES, object, withSignal)
      : client.replace(LEASES, object, withSignal);
  };
  return {
    async attempt(signal) {
      const present = await client.get<Lease>(LEASES, lease, signal);
      seen = seeLease(seen, recordOf(present), clock.monotonicMs());
      const now = { monotonicMs: clock.monotonicMs(), time: time() };
      const decision = decideLease(seen, { identity, leaseSeconds }, now);
      if (decision.type === "wait") return false;
      try {
        held = await write(present, decision.record, signal);
        return true;
      } catch (reason) {
        // Another was faster: look again next time.
        if (isStatus(reason, 409)) return false;
        throw reason;
      }
    },
    async release() {
      const record = recordOf(held);
      if (held === undefined || record === undefined) return;
      try {
        await write(held, releasedLease(record, time()));
      } catch (reason) {
        // Another holds it already: nothing is left to hand over.
        if (!isStatus(reason, 404, 409)) throw reason;
      }
    },
  };
}

function leaseObject(lease: ObjectRef, before: Lease | undefined, record: LeaseRecord): Lease {
  return {
    apiVersion: LEASES.apiVersion,
    kind: LEASES.kind,
    metadata: before?.metadata ?? lease,
    spec: {
      holderIdentity: record.holder,
      leaseDurationSeconds: record.leaseSeconds,
      acquireTime: record.acquireTime,
      renewTime: record.renewTime,
      leaseTransitions: record.transitions,
    },
  };
}

function recordOf(lease: Lease | undefined): LeaseRecord | undefined {
  const spec = lease?.spec;
  if (spec === undefined) return undefined;
  return {
    holder: spec.holderIdentity ?? "",
    leaseSeconds: spec.leaseDurationSeconds ?? 0,
    acquireTime: spec.acquireTime ?? "",
    renewTime: spec.renewTime ?? "",
    transitions: spec.leaseTransitions ?? 0,
  };
}

/** Kubernetes' MicroTime: six decimals. */
function microTime(ms: number): string {
  return new Date(ms).toISOString().replace(/Z$/, "000Z");
}
