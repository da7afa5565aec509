/** Reading a reward model while a service goes on: weights are cast and hashed in a thread that lives for that (P1). */
import { createRequire } from "node:module";
import { SHARE_ENV, Worker } from "node:worker_threads";
import { WorkerClient } from "@oarlock/runtime";
import type { openRewardModel, ScoredPolicy } from "./reward-model.ts";

export interface ReadModelOptions {
  /** As a reward names it. */
  readonly source: string;
  /** What relative paths are relative to. */
  readonly baseDir: string;
  readonly policy: ScoredPolicy;
  readonly signal: AbortSignal;
}

/** L1: a download from the hub included. */
const TIMEOUT_MS = 30 * 60_000;

/** Calls of the thread. @internal */
export type ReadModelMethods = {
  read(request: Omit<ReadModelOptions, "signal">): ReturnType<typeof openRewardModel>;
};

/** As `openRewardModel`, its weights in shared memory. The thread is ended with the call, also where it is given up. */
export async function readModel({
  signal,
  policy: { config, tokenizer },
  ...of
}: ReadModelOptions): ReturnType<typeof openRewardModel> {
  // A model and a tokenizer hold what no thread can be given.
  const policy = {
    config: { vocabSize: config.vocabSize },
    tokenizer: { vocabulary: tokenizer.vocabulary },
  };
  const entry = createRequire(import.meta.url).resolve("@oarlock/workload/read-model-worker");
  await using client = new WorkerClient<ReadModelMethods>({
    name: "model reader",
    start: () => new Worker(entry, { execArgv: [], env: SHARE_ENV }),
  });
  return await client.call("read", { ...of, policy }, { timeoutMs: TIMEOUT_MS, signal });
}
