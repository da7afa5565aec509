/**
 * A worker thread that holds an engine: opened before its first call, closed before it is ended. It does not know what the
 * engine computes.
 */
import { SHARE_ENV, Worker } from "node:worker_threads";
import { type Request, WorkerClient, type WorkerMethods } from "./worker-client.ts";

/** L1: opening an engine loads a model; closing it waits for the step under way. */
export const ENGINE_CALL_TIMEOUT_MS: number = 10 * 60_000;

/** What every such worker answers. */
interface EngineMethods {
  open(request: never): unknown;
  close(request: undefined): unknown;
}

export interface EngineWorkerOptions<T extends EngineMethods> {
  /** For error messages and waits. */
  readonly name: string;
  /** The built file of the worker, as `require` resolves it: that ignores the source condition and the parent's loaders. */
  readonly entry: string;
  /** What `open` is called with. */
  readonly settings: Request<T["open"]>;
}

export interface EngineWorker<T extends EngineMethods & WorkerMethods<T>> {
  readonly client: WorkerClient<T>;
  readonly close: () => Promise<void>;
}

/** Starts a thread; resolves when its engine is open. No thread is left where that fails. */
export async function openEngineWorker<T extends EngineMethods & WorkerMethods<T>>({
  name,
  entry,
  settings,
}: EngineWorkerOptions<T>): Promise<EngineWorker<T>> {
  // One environment: what a thread sets before it loads a library, the library sees.
  const start = (): Worker => new Worker(entry, { execArgv: [], env: SHARE_ENV });
  const client = new WorkerClient<T>({ name, start });
  const limit = { timeoutMs: ENGINE_CALL_TIMEOUT_MS };
  try {
    await client.call("open", settings, limit);
  } catch (error) {
    await client.close();
    throw error;
  }
  return {
    client,
    async close() {
      // The thread may be gone already.
      await client.call("close", undefined as Request<T["close"]>, limit).catch(() => undefined);
      await client.close();
    },
  };
}
