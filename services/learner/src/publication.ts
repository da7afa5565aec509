/**
 * Publishing policy versions while training goes on (W1): a snapshot is queued, stored and announced in order; training
 * never waits for it unless something needs the version. Versions that lag or the last checkpoint still needs are kept.
 */
import type { PolicyStore } from "@oarlock/checkpoint";
import { isSamePolicy } from "@oarlock/run";
import type { PolicyVersion } from "@oarlock/run";
import { isSampled, traced, waitFor } from "@oarlock/runtime";
import type { Tracer } from "@oarlock/runtime";
import { policyAttributes } from "@oarlock/telemetry";

const PUBLISH_TIMEOUT_MS = 300_000;

/** The weights of a version, with their digest; nobody writes to them. */
export interface ServedPolicy {
  readonly policy: PolicyVersion;
  readonly weights: Float32Array;
}

export interface Publication {
  /** Queues a version; resolves when it is visible. The same version again is the same promise. */
  publish(served: ServedPolicy, at: { readonly stage: number; readonly step: number }): Promise<void>;
  /** Resolves when nothing is queued; rejects with the first failure. */
  settled(): Promise<void>;
  /** The version of that number, where it is not forgotten. */
  held(number: number): ServedPolicy | undefined;
  /** The newest `count` versions published, oldest first, with their weights. */
  recent(count: number): readonly ServedPolicy[];
  /** The reference that actors compute with in a stage: what is published of it is not forgotten before another stage's. */
  keepReference(reference: StageReference | undefined): void;
  reference(stage: number): ServedPolicy | undefined;
  /** Queues forgetting the versions below `number`. */
  forget(number: number): void;
}

export interface StageReference {
  readonly stage: number;
  readonly served: ServedPolicy;
}

/** A publication that has announced nothing. */
export function createPublication(
  store: PolicyStore,
  options: {
    readonly signal: AbortSignal;
    readonly tracer: Tracer;
    /** What its versions are of, for spans and waits. */
    readonly what: "policy" | "critic";
  },
): Publication {
  const { signal, tracer, what } = options;
  let queue: Promise<void> = Promise.resolve();
  const enqueue = (work: () => Promise<void>): Promise<void> => {
    queue = queue.then(work);
    // Whoever published hears of a failure; so does everyone behind it, and `settled`.
    queue.catch(() => undefined);
    return queue;
  };
  let held: readonly ServedPolicy[] = [];
  let reference: StageReference | undefined;

  return {
    publish(served, { stage, step }) {
      const { policy, weights } = served;
      const newest = held.at(-1);
      if (newest !== undefined && isSamePolicy(newest.policy, policy)) return queue;
      held = [...held, served];
      const wait = { timeoutMs: PUBLISH_TIMEOUT_MS, signal };
      return enqueue(async () => {
        const snapshot = { number: policy.number, digest: policy.digest, weights, stage, step };
        const { number } = policy;
        const attributes = { ...policyAttributes(policy), "rl.policy.bytes": weights.byteLength };
        // In the trace of whoever asked: the queue keeps each piece of work in its caller's context.
        await traced(tracer, { name: `publish ${what}`, attributes }, async ({ context }) => {
          const told = isSampled(context) ? { ...snapshot, trace: context } : snapshot;
          const name = `the ${what} store to hold version ${number}`;
          await waitFor(name, (s) => store.publish(told, s), wait);
        });
      });
    },
    settled: () => queue,
    held: (number) => held.find(({ policy }) => policy.number === number),
    recent: (count) => (count <= 0 ? [] : held.slice(-count)),
    keepReference(next) {
      reference = next;
    },
    reference: (stage) => (reference?.stage === stage ? reference.served : undefined),
    forget(number) {
      const isReference = ({ policy }: ServedPolicy): boolean =>
        reference !== undefined && isSamePolicy(policy, reference.served.policy);
      const kept = held.filter((served) => served.policy.number >= number || isReference(served));
      if (kept.length === held.length) return;
      held = kept;
      const versions = kept.map(({ policy }) => policy);
      void enqueue(() => store.retain(versions, signal));
    },
  };
}
