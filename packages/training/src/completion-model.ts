/**
 * A model that looks at completions and is not trained, in a worker thread of its own (P1): the reference policy, which gives
 * log-probs, or a critic, which gives values.
 *
 * On a processor a token's number is the bits that a trainer with one thread a lane finds for it, whatever else is in either's
 * micro-batches (D3). One case apart: a micro-batch of a single token to predict, whose matrix product is another one.
 */
import { createRequire } from "node:module";
import { ENGINE_CALL_TIMEOUT_MS, openEngineWorker } from "@oarlock/runtime";
import type { NamedCall } from "./calls.ts";
import type { FrozenModelOptions } from "./frozen-model.ts";

/** A prompt and what was drawn after it. */
export interface CompletedPrompt {
  readonly tokens: Int32Array;
  readonly promptLength: number;
}

export interface CompletionModelCall {
  /** Logits are divided by this before the softmax; a critic has none. */
  readonly temperature: number;
  /** Completions per pass, in their order: bounds memory and changes no bits. */
  readonly microBatchSize: number;
}

export interface CompletionModel extends AsyncDisposable {
  /** Of every token of each completion: its log-prob, nats, or with a score head the value before it. */
  perToken(
    completed: readonly CompletedPrompt[],
    /** L1: `timeoutMs` is for the whole call. Beyond it, or aborted, it stops after the pass under way. */
    options: CompletionModelCall & { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<Float32Array[]>;
  /** Other weights of the same shape. */
  load(weights: Float32Array): Promise<void>;
  close(): Promise<void>;
}

/** @internal */
export interface PerTokenRequest extends NamedCall {
  readonly completed: readonly CompletedPrompt[];
  readonly options: CompletionModelCall;
}

/** Calls between a model's owner and its worker thread. @internal */
export type CompletionModelMethods = {
  open(request: FrozenModelOptions): Promise<void>;
  perToken(request: PerTokenRequest): Promise<Float32Array[]>;
  abort(request: NamedCall): void;
  load(request: { readonly weights: Float32Array }): Promise<void>;
  close(request: undefined): Promise<void>;
};

/** Starts the worker and opens the engine. */
export async function createCompletionModel(options: FrozenModelOptions): Promise<CompletionModel> {
  const { client, close } = await openEngineWorker<CompletionModelMethods>({
    name: "completion model",
    entry: createRequire(import.meta.url).resolve("@oarlock/training/completion-worker"),
    settings: options,
  });
  const small = { timeoutMs: ENGINE_CALL_TIMEOUT_MS };
  let calls = 0;
  return {
    async perToken(completed, { timeoutMs, signal, ...call }) {
      const request = { call: ++calls, completed, options: call };
      try {
        return await client.call("perToken", request, {
          timeoutMs,
          ...(signal === undefined ? {} : { signal }),
        });
      } catch (reason) {
        // Where nobody waits any more, the worker is not to go on either; of a call that failed itself it stops nothing.
        void client.call("abort", { call: request.call }, small).catch(() => undefined);
        throw reason;
      }
    },
    load: (weights) => client.call("load", { weights }, small),
    close,
    [Symbol.asyncDispose]: close,
  };
}
