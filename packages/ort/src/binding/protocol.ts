/** Messages between the binding driver and its worker thread. Plain data; array buffers are transferred. */
import type { MessagePort } from "node:worker_threads";
import type { DType, TypedArray } from "@oarlock/tensor";
import type { OrtOptimization, OrtProvider, OrtValueInfo } from "../types.ts";

export interface WireTensor {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TypedArray;
}

export type BindingRequest =
  | {
      readonly type: "create";
      readonly model: Uint8Array;
      readonly provider: OrtProvider;
      readonly threads: number;
      readonly optimization: OrtOptimization;
      readonly entries: Readonly<Record<string, string>>;
      readonly initializers: readonly WireTensor[];
    }
  | {
      readonly type: "run";
      readonly session: number;
      readonly feeds: readonly WireTensor[];
      readonly fetches: readonly string[];
    }
  | { readonly type: "close"; readonly session: number };

export type BindingReply =
  | {
      readonly type: "created";
      readonly session: number;
      readonly inputs: readonly OrtValueInfo[];
      readonly outputs: readonly OrtValueInfo[];
    }
  | {
      readonly type: "ran";
      readonly outputs: readonly { readonly name: string; readonly data: TypedArray }[];
    }
  | { readonly type: "closed" }
  | { readonly type: "failed"; readonly code: string; readonly message: string };

export interface RequestEnvelope {
  readonly id: number;
  readonly request: BindingRequest;
}

export interface ReplyEnvelope {
  readonly id: number;
  readonly reply: BindingReply;
}

/** What the worker is started with: the port of all messages, and two int32 that tell of it to a thread that blocks. */
export interface BindingWorkerData {
  readonly port: MessagePort;
  readonly progress: SharedArrayBuffer;
}

/** Raised after each reply, and at the worker's end. */
export const REPLIES = 0;
/** 1 once the worker has ended. */
export const ENDED = 1;
