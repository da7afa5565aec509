/**
 * Waits for what others must do, each under its name (L1): they end when it is there, when a part that they depend on has failed,
 * or as a stall, since nothing has moved for too long (D1c). It does not know what is waited for.
 */
import { OarlockError, isOarlockError } from "@oarlock/errors";
import { waitFor } from "@oarlock/runtime";

export interface StallLimits {
  /** Without progress for so long, the cause is reported, and again after as long. Default 30 s. */
  readonly warnMs: number;
  /** Without progress for so long, the run stops as stalled (D1c). Default 15 min. */
  readonly stopMs: number;
}

export interface StallingWaitsOptions {
  readonly stall: StallLimits;
  readonly onStalled: (message: string) => void;
  /** Where groups are held up as far as the bus shows it, or "". */
  readonly heldUp: () => string;
  /** Since anything has moved. */
  readonly idleMs: () => number;
}

/** Something that is waited for. */
export interface StallingWait<T> {
  /** Woken by. */
  readonly key: string;
  readonly name: string;
  /** Undefined until it is there. */
  readonly get: () => T | undefined;
  /** Who waits for whom. */
  readonly who: () => string;
}

export interface StallingWaits {
  /** Throws what failed, `STALLED`, or the signal's reason. */
  readonly until: <T>(wait: StallingWait<T>, signal: AbortSignal) => Promise<T>;
  readonly wake: (key: string) => void;
  /** Ends every wait, also those to come, with this reason. */
  readonly fail: (reason: unknown) => void;
  /** Ends every wait, also those to come, for what is not there, with `STEP_ABANDONED`: whoever would do it may be gone. */
  readonly abandon: () => void;
}

/** How often a wait looks at the clock. */
const WATCH_INTERVAL_MS = 1_000;

/** Nobody waits. */
export function createStallingWaits(options: StallingWaitsOptions): StallingWaits {
  const watchers = new Map<string, () => void>();
  let failure: unknown;
  const wake = (key: string): void => {
    watchers.get(key)?.();
    watchers.delete(key);
  };
  let abandoned = false;
  const wakeAll = (): void => {
    for (const key of watchers.keys()) wake(key);
  };
  return {
    wake,
    fail(reason) {
      failure ??= reason;
      wakeAll();
    },
    abandon() {
      abandoned = true;
      wakeAll();
    },
    async until({ key, name, get, who }, signal) {
      const reportStall = stallReporter(options, who);
      for (;;) {
        if (failure !== undefined) throw failure;
        const there = get();
        if (there !== undefined) return there;
        if (abandoned) throw new OarlockError("STEP_ABANDONED", `told to end before ${name} came`);
        signal.throwIfAborted();
        const ready = new Promise<void>((resolve) => watchers.set(key, resolve));
        await waitFor(name, ready, { timeoutMs: WATCH_INTERVAL_MS, signal }).catch((reason: unknown) => {
          if (!isOarlockError(reason, "DEADLINE_EXCEEDED")) throw reason;
        });
        reportStall();
      }
    },
  };
}

/** Reports that nothing moves, again and again, until it is time to stop. */
function stallReporter(
  { stall, onStalled, heldUp, idleMs }: StallingWaitsOptions,
  who: () => string,
): () => void {
  let reportedMs = 0;
  return () => {
    const idle = idleMs();
    if (idle < stall.warnMs) reportedMs = 0;
    if (idle < Math.min(reportedMs + stall.warnMs, stall.stopMs)) return;
    const parts = [who(), heldUp()].filter((part) => part !== "");
    const said = `nothing moved for ${Math.round(idle / 1000)} s: ${parts.join("; ")}`;
    if (idle >= stall.stopMs) throw new OarlockError("STALLED", said);
    reportedMs = idle;
    onStalled(said);
  };
}
