/** P1 as a number: how late the event loop answers, by the runtime's own histogram. */
import { monitorEventLoopDelay } from "node:perf_hooks";

/** Milliseconds over the time since the last `reset`. */
export interface LoopDelay {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** A running measurement. */
export interface LoopDelayMonitor extends Disposable {
  read(): LoopDelay;
  reset(): void;
  stop(): void;
}

/** Starts measuring with the given sampling interval (default 10 ms, which is subtracted from what is reported). */
export function startLoopDelayMonitor(resolutionMs = 10): LoopDelayMonitor {
  const histogram = monitorEventLoopDelay({ resolution: resolutionMs });
  histogram.enable();
  // The histogram holds whole intervals; before the first sample it holds nothing.
  const lateMs = (nanoseconds: number): number =>
    Number.isFinite(nanoseconds) ? Math.max(0, nanoseconds / 1e6 - resolutionMs) : 0;
  const stop = (): void => void histogram.disable();
  return {
    read: () => ({
      p50Ms: lateMs(histogram.percentile(50)),
      p99Ms: lateMs(histogram.percentile(99)),
      maxMs: histogram.count === 0 ? 0 : lateMs(histogram.max),
    }),
    reset: () => histogram.reset(),
    stop,
    [Symbol.dispose]: stop,
  };
}
