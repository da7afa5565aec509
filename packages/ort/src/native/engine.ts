/**
 * What one native runtime shares: the function table, ONNX Runtime's environment, host memory, the gates.
 * The environment is one per process and is never released: sessions of other threads use it too.
 */
import type { EngineFingerprint, OrtProvider, OpenOrtOptions } from "../types.ts";
import type { OrtApi } from "./api.ts";
import type { Gate } from "./gate.ts";
import type { Pointer } from "./pointers.ts";

export interface NativeEngine {
  readonly api: OrtApi;
  readonly environment: Pointer;
  /** Memory info of plain host memory. */
  readonly hostMemory: Pointer;
  /** ONNX Runtime's default allocator, which owns the strings it returns. */
  readonly allocator: Pointer;
  readonly provider: OrtProvider;
  readonly fingerprint: EngineFingerprint;
  readonly options: OpenOrtOptions;
  /** Of `libonnxruntime`; providers lie beside it. */
  readonly libraryPath: string;
  /** Limits asynchronous calls. */
  readonly pool: Gate;
  /** Ordinal of the card, where the provider has several. */
  readonly deviceId: number;
  /** One run at a time, where the provider needs that. */
  readonly exclusive: Gate | undefined;
}
