/**
 * A policy that judges and is not trained, as the reference of a stage is: log-probs of completions that others drew, in a
 * worker thread of its own (P1).
 *
 * On a processor a completion's log-probs are the bits that a trainer with one thread a lane finds for it, whatever else is in
 * either's micro-batches (D3). One case apart: a micro-batch of a single token to predict, whose matrix product is another one.
 */
import { createRequire } from "node:module";
import { openEngineWorker } from "@oarlock/runtime";
import type { FrozenModelOptions } from "./frozen-model.ts";

/** A prompt and what was drawn after it. */
export interface CompletedPrompt {
  readonly tokens: Int32Array;
  readonly promptLength: number;
}

export interface LogprobModelCall {
  /** Logits are divided by this before the softmax. */
  readonly temperature: number;
  /** Completions per pass, in their order: bounds memory and changes no bits. */
  readonly microBatchSize: number;
}

export interface LogprobModel extends AsyncDisposable {
  /** The log-prob of every token of each completion, nats. */
  logprobs(
    completed: readonly CompletedPrompt[],
    /** L1: `timeoutMs` is for the whole call. */
    options: LogprobModelCall & { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<Float32Array[]>;
  close(): Promise<void>;
}

/** Calls between a model's owner and its worker thread. @internal */
export type LogprobModelMethods = {
  open(request: FrozenModelOptions): Promise<void>;
  logprobs(request: {
    readonly completed: readonly CompletedPrompt[];
    readonly call: LogprobModelCall;
  }): Promise<Float32Array[]>;
  close(request: undefined): Promise<void>;
};

/** Starts the worker and opens the engine. */
export async function createLogprobModel(options: FrozenModelOptions): Promise<LogprobModel> {
  const { client, close } = await openEngineWorker<LogprobModelMethods>({
    name: "log-prob model",
    entry: createRequire(import.meta.url).resolve("@oarlock/training/logprob-worker"),
    settings: options,
  });
  return {
    logprobs: (completed, { timeoutMs, signal, ...call }) =>
      client.call(
        "logprobs",
        { completed, call },
        { timeoutMs, ...(signal === undefined ? {} : { signal }) },
      ),
    close,
    [Symbol.asyncDispose]: close,
  };
}
