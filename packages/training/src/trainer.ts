/** A trainer in a worker thread of its own: the caller's event loop stays free while it computes (P1). */
import { createRequire } from "node:module";
import { ENGINE_CALL_TIMEOUT_MS, openEngineWorker } from "@oarlock/runtime";
import type { TrainerMethods } from "./protocol.ts";
import type { Trainer, TrainerOptions } from "./types.ts";

/** L1: the longest that one call may take before the caller is told. Steps of large models take minutes on a CPU. */
const CALL_TIMEOUT_MS = 60 * 60_000;

/** Starts the worker, copies the initial weights into it, and opens the engine. */
export async function createTrainer(options: TrainerOptions): Promise<Trainer> {
  const { client, close } = await openEngineWorker<TrainerMethods>({
    name: "trainer",
    entry: createRequire(import.meta.url).resolve("@oarlock/training/worker"),
    settings: options,
  });
  const small = { timeoutMs: ENGINE_CALL_TIMEOUT_MS };
  let calls = 0;
  /** Runs a call that `signal` stops between two micro-batches. */
  const abortable = async <R>(
    signal: AbortSignal | undefined,
    start: (call: number) => Promise<R>,
  ): Promise<R> => {
    signal?.throwIfAborted();
    const call = ++calls;
    const stop = (): void => void client.call("abort", { call }, small).catch(() => undefined); // the call itself reports
    signal?.addEventListener("abort", stop, { once: true });
    try {
      return await start(call);
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  };
  return {
    step: (rows, stepOptions, signal) =>
      abortable(signal, (call) =>
        client.call("step", { call, rows, options: stepOptions }, { timeoutMs: CALL_TIMEOUT_MS }),
      ),
    logprobs: (rows, source, logprobOptions, signal) =>
      abortable(signal, (call) =>
        client.call(
          "logprobs",
          { call, rows, source, options: logprobOptions },
          { timeoutMs: CALL_TIMEOUT_MS },
        ),
      ),
    scores: (rows, forwardOptions, signal) =>
      abortable(signal, (call) =>
        client.call("scores", { call, rows, options: forwardOptions }, { timeoutMs: CALL_TIMEOUT_MS }),
      ),
    captureReference: () => client.call("captureReference", undefined, small),
    policy: () => client.call("policy", undefined, small),
    load: (weights) => client.call("load", { weights }, small),
    stateFacts: () => client.call("stateFacts", undefined, small),
    copyState: (array, into) => client.call("copyState", { array, into }, small),
    restore: (state) => client.call("restore", state, small),
    resetOptimizer: () => client.call("resetOptimizer", undefined, small),
    close,
    [Symbol.asyncDispose]: close,
  };
}
