/** The methods of a generation worker, as its client calls them. Data only. */
import type { MessagePort } from "node:worker_threads";
import type { LlamaConfig } from "@oarlock/nn";
import type { OpenOrtOptions } from "@oarlock/ort";
import type { BatcherCounts } from "./batcher.ts";
import type { Completion, GenerationRequest, PolicyVersion, WeightLayout } from "./types.ts";

/** What a worker is opened with. */
export interface WorkerSettings {
  readonly config: LlamaConfig;
  readonly layout: WeightLayout;
  readonly threads: number;
  readonly slots: number;
  readonly maxLength: number;
  readonly maxWaiting: number;
  readonly ort: Omit<OpenOrtOptions, "threads">;
}

/** A worker's part of the statistics. */
export interface WorkerStats extends Readonly<BatcherCounts> {
  readonly decodeSteps: number;
  readonly occupiedSlotSteps: number;
  readonly slots: number;
  readonly waitingSamples: number;
  readonly activeSamples: number;
  readonly busySeconds: number;
}

export interface LoadRequest {
  readonly weights: Float32Array;
  readonly version: PolicyVersion;
  /** Whether they take over at the next token, or only once everything submitted before has ended. */
  readonly inFlight: boolean;
}

export interface GenerationMethods {
  open: (settings: WorkerSettings) => Promise<void>;
  /** Resolves when the weights are in use; `weights` lies in shared memory. */
  load: (request: LoadRequest) => Promise<void>;
  /** The request's id is the client's own. Progress goes to the port, which is closed when all was told. */
  submit: (call: { request: GenerationRequest; progress?: MessagePort }) => Promise<readonly Completion[]>;
  /** Makes the submission of that id end with what it has. */
  cancel: (request: { id: string }) => void;
  stats: () => WorkerStats;
  close: () => Promise<void>;
}
