/** Reading a model while a service goes on: its weights are cast and hashed in a thread that lives for that (P1). */
import { createRequire } from "node:module";
import { SHARE_ENV, Worker } from "node:worker_threads";
import type { LoadedModel } from "@oarlock/models";
import { WorkerClient } from "@oarlock/runtime";

export interface ReadModelOptions {
  /** As `loadModel` takes it. */
  readonly source: string;
  /** What relative paths are relative to. */
  readonly baseDir: string;
  readonly signal: AbortSignal;
}

/** L1: a download from the hub included. */
const TIMEOUT_MS = 30 * 60_000;

/** Calls of the thread. @internal */
export type ReadModelMethods = {
  read(request: Omit<ReadModelOptions, "signal">): Promise<LoadedModel>;
};

/** As `loadModel`, its weights in shared memory. The thread is ended with the call, also where it is given up. */
export async function readModel({ signal, ...request }: ReadModelOptions): Promise<LoadedModel> {
  const entry = createRequire(import.meta.url).resolve("@oarlock/workload/read-model-worker");
  await using client = new WorkerClient<ReadModelMethods>({
    name: "model reader",
    start: () => new Worker(entry, { execArgv: [], env: SHARE_ENV }),
  });
  return await client.call("read", request, { timeoutMs: TIMEOUT_MS, signal });
}
