/**
 * The loop of a controller: keys from the queue to `reconcile`, in a few hands at a time. A failure comes back later, a
 * result may ask to come back after a while. Knows nothing of what is reconciled.
 */
import { isOarlockError } from "@oarlock/errors";
import { type Clock, type Log, silentLog, systemClock, waitFor } from "@oarlock/runtime";
import { KubeError } from "./api-error.ts";
import { ControllerMetrics, type ReconcileResult } from "./metrics.ts";
import { WorkQueue } from "./work-queue.ts";

/** When to look again though nothing is seen to change. */
export interface Reconciled {
  readonly requeueAfterMs?: number;
}

export interface ControllerOptions {
  readonly name: string;
  /** Makes the world of one key as it should be; called again where it fails. */
  readonly reconcile: (key: string, signal: AbortSignal) => Promise<Reconciled>;
  /** Keys in hand at a time. Default 4. */
  readonly workers?: number;
  /** One reconcile at most. Default 120 s. */
  readonly timeoutMs?: number;
  readonly clock?: Clock;
  readonly log?: Log;
}

export interface Controller {
  readonly metrics: ControllerMetrics;
  enqueue(key: string): void;
  /** Works until the signal aborts, then lets what is in hand finish. */
  run(signal: AbortSignal): Promise<void>;
}

const RECONCILE_TIMEOUT_MS = 120_000;

/** A controller that has done nothing. */
export function createController(options: ControllerOptions): Controller {
  const { name, workers = 4, timeoutMs = RECONCILE_TIMEOUT_MS } = options;
  const { clock = systemClock, log = silentLog } = options;
  const queue = new WorkQueue({ clock });
  const metrics = new ControllerMetrics({ name, workers, queue: () => queue.counts() });
  const attempt = async (key: string): Promise<ReconcileResult> => {
    let ending: AbortSignal | undefined;
    try {
      const work = (signal: AbortSignal): Promise<Reconciled> => options.reconcile(key, (ending = signal));
      const { requeueAfterMs } = await waitFor(`reconcile of ${key}`, work, { timeoutMs, clock });
      queue.forget(key);
      if (requeueAfterMs === undefined) return "success";
      queue.addAfter(key, requeueAfterMs);
      return "requeue_after";
    } catch (reason) {
      if (ending?.aborted === true) metrics.timedOut();
      const pauseMs = queue.addFailed(key, askedPauseMs(reason));
      const expected = isOarlockError(reason, "KUBE_CONFLICT");
      log[expected ? "debug" : "warn"]("reconcile failed, comes again", { key, pauseMs, err: reason });
      return "error";
    }
  };
  const hand = async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      const key = await queue.take(signal).catch(() => undefined);
      if (key === undefined) return;
      const sinceMs = clock.monotonicMs();
      metrics.begun();
      const result = await attempt(key);
      metrics.reconciled(result, (clock.monotonicMs() - sinceMs) / 1000);
      queue.done(key);
    }
  };
  return {
    metrics,
    enqueue: (key) => queue.add(key),
    async run(signal) {
      signal.addEventListener("abort", () => queue.close(), { once: true });
      await Promise.all(Array.from({ length: workers }, () => hand(signal)));
    },
  };
}

function askedPauseMs(reason: unknown): number {
  return reason instanceof KubeError ? (reason.retryAfterMs ?? 0) : 0;
}
