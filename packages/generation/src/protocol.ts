/** Messages between a generator and its workers. Arrays are transferred, weights are shared memory. */
import { isOarlockError, OarlockError } from "@oarlock/errors";
import type { LlamaConfig } from "@oarlock/nn";
import type { OpenOrtOptions } from "@oarlock/ort";
import type { BatcherCounts } from "./batcher.ts";
import type { Completion, GenerationRequest, PolicyVersion, WeightLayout } from "./types.ts";

/** What a worker is started with. */
export interface WorkerSettings {
  readonly config: LlamaConfig;
  readonly layout: WeightLayout;
  readonly threads: number;
  readonly slots: number;
  readonly maxLength: number;
  readonly maxWaiting: number;
  readonly ort: Omit<OpenOrtOptions, "threads">;
}

export type ToWorker =
  | {
      readonly type: "load";
      readonly call: string;
      readonly weights: Float32Array;
      readonly version: PolicyVersion;
    }
  | { readonly type: "submit"; readonly call: string; readonly request: GenerationRequest }
  | { readonly type: "cancel"; readonly call: string }
  | { readonly type: "stats"; readonly call: string }
  | { readonly type: "close"; readonly call: string };

export type FromWorker =
  | { readonly type: "ready" }
  | { readonly type: "done"; readonly call: string; readonly result: CallResult }
  | { readonly type: "failed"; readonly call: string; readonly error: WireError };

export type CallResult =
  | { readonly type: "loaded" }
  | { readonly type: "completions"; readonly completions: readonly Completion[] }
  | { readonly type: "stats"; readonly stats: WorkerStats }
  | { readonly type: "closed" };

/** A worker's part of the statistics. */
export interface WorkerStats extends Readonly<BatcherCounts> {
  readonly decodeSteps: number;
  readonly occupiedSlotSteps: number;
  readonly slots: number;
  readonly waitingSamples: number;
  readonly activeSamples: number;
  readonly busySeconds: number;
}

/** An error as data: structured clone keeps no class and no code. */
export interface WireError {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
}

export function toWire(reason: unknown): WireError {
  if (isOarlockError(reason))
    return { code: reason.code, message: reason.rawMessage, retryable: reason.retryable };
  return {
    code: "GENERATION_FAILED",
    message: reason instanceof Error ? reason.message : String(reason),
    retryable: false,
  };
}

export function fromWire({ code, message, retryable }: WireError): OarlockError {
  return new OarlockError(code, message, { retryable });
}
