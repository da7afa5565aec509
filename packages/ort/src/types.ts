/**
 * The interface of the compute engine: what both drivers offer and what every caller may rely on.
 *
 * It knows tensors, sessions and bindings; it does not know ONNX Runtime's C API, pointers or workers.
 *
 * Rules that hold for both drivers:
 * - Outputs are allocated by the caller. An output may be the same memory as an input only behind a barrier in the
 *   graph (nothing else reads the input after the output is written); see `alias.test.ts`.
 * - Wrong names, element types, shapes and byte lengths, and use after release, are `OarlockError`s in JavaScript.
 */
import type { DType, TypedArray } from "@oarlock/tensor";

export type OrtDriver = "native" | "binding";
export type OrtProvider = "cpu" | "cuda" | "webgpu";
/** How far ONNX Runtime rewrites a graph before it runs. It changes bits, so it is a value of the plan (D1). */
export type OrtOptimization = "disabled" | "basic" | "extended" | "all";

/** What of the engine decides bits (D1b): two equal fingerprints give equal results for equal graphs and inputs. */
export interface EngineFingerprint {
  readonly engine: "onnxruntime";
  /** Version of the library, e.g. `1.30.0`. */
  readonly version: string;
  /** The library's own build string (git commit, flags), empty where the driver cannot see it. */
  readonly build: string;
  readonly driver: OrtDriver;
  readonly provider: OrtProvider;
  /** `x64-avx512`, `x64-avx2`, `arm64-sve`, …: the widest vector extension that the kernels choose by. */
  readonly instructionSet: string;
  readonly platform: string;
  /** Intra-op threads of a session that asks for no other number. */
  readonly threads: number;
  readonly optimization: OrtOptimization;
}

/** A tensor over memory that the caller sees. On the CPU provider nothing is copied: `data` is what the kernels read and write. */
export interface OrtTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly byteLength: number;
  readonly location: "host" | "device";
  /** The host memory; reading it of a device tensor is an error (`ORT_DEVICE_TENSOR`). */
  readonly data: TypedArray;
  readonly disposed: boolean;
  /** Ends the tensor: later use is an error. Memory that a running call uses stays until that call ends. */
  dispose(): void;
}

/** An input or output of a graph. A dim is a number, a named symbol, or null where the graph says nothing. */
export interface OrtValueInfo {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly (number | string | null)[];
}

export interface SessionOptions {
  /** Intra-op threads. Default: the runtime's. */
  readonly threads?: number;
  /** Whether idle threads spin for the next operation: faster on an idle machine, far slower on a busy one. Default: the runtime's. */
  readonly spinning?: boolean;
  /** Default: the runtime's. */
  readonly optimization?: OrtOptimization;
  /** Values for the graph's external initializers, by name. Zero copy: weights never sit in a protobuf. */
  readonly initializers?: Readonly<Record<string, OrtTensor>>;
  /** Prefix of a profile file that ONNX Runtime writes when the session closes (native driver). */
  readonly profile?: string;
  /**
   * Gives scratch memory back to the system after each run instead of keeping the largest that any run needed: for large
   * sessions of which several live at once. Changes no bits. It costs page faults on `cpu`; on `cuda`, where it takes longer than many a
   * run, it is done only while less than half of the card's memory is free. Native driver. Default false.
   */
  readonly releasesScratch?: boolean;
  /** ONNX Runtime's session configuration entries, e.g. `session.disable_cpu_ep_fallback`. */
  readonly entries?: Readonly<Record<string, string>>;
}

/** Inputs and outputs of one call, checked and marshalled once, run any number of times. */
export interface OrtBinding {
  readonly inputs: Readonly<Record<string, OrtTensor>>;
  readonly outputs: Readonly<Record<string, OrtTensor>>;
  dispose(): void;
}

export interface OrtSession {
  readonly inputs: readonly OrtValueInfo[];
  readonly outputs: readonly OrtValueInfo[];
  /** Checks names, element types and shapes. `outputs` may name a part of the graph's outputs. */
  bind(inputs: Readonly<Record<string, OrtTensor>>, outputs: Readonly<Record<string, OrtTensor>>): OrtBinding;
  /** Runs off the event loop (P1). One run of a binding at a time; `signal` stops the run between two operations. */
  run(binding: OrtBinding, signal?: AbortSignal): Promise<void>;
  /** Runs on the calling thread and blocks it: for code that already lives in a worker thread. */
  runSync(binding: OrtBinding): void;
  /** Waits for running calls, then releases the session. */
  close(): Promise<void>;
}

export interface OrtRuntime {
  readonly driver: OrtDriver;
  /** Why this driver was chosen, for logs. */
  readonly driverReason: string;
  readonly provider: OrtProvider;
  readonly fingerprint: EngineFingerprint;
  createSession(model: Uint8Array, options?: SessionOptions): Promise<OrtSession>;
  /** A host tensor over `data` (also a view at an offset of a large or shared buffer), or over new zeroed memory. */
  tensor(dtype: DType, shape: readonly number[], data?: TypedArray): OrtTensor;
  /**
   * Where state that runs read and write again and again is best kept. `device`: device tensors can be seen through views (CUDA);
   * host tensors would be copied to the card and back at each run.
   */
  readonly residence: "host" | "device";
  /** A tensor in the provider's memory, its content undefined: state that never crosses the bus. On `cpu` it is a host tensor. */
  deviceTensor(dtype: DType, shape: readonly number[]): OrtTensor;
  /**
   * A part of a tensor's memory as a tensor: `shape` from element `start` on. Of host tensors, and of device tensors where `residence`
   * is `device`.
   */
  view(tensor: OrtTensor, start: number, shape: readonly number[]): OrtTensor;
  /** Copies `sources[i]` to `targets[i]`, between host and device in either direction. */
  copy(sources: readonly OrtTensor[], targets: readonly OrtTensor[]): void;
  /** Closes every session that is still open. */
  close(): Promise<void>;
}

export interface OpenOrtOptions {
  /** `auto`: native wherever it loads, else the binding. Default `auto`. */
  readonly driver?: OrtDriver | "auto";
  /** Default `cpu`. */
  readonly provider?: OrtProvider;
  /** Intra-op threads of sessions that ask for no other number. Default 1: never the machine's core count (D1). */
  readonly threads?: number;
  /** Default `all`. */
  readonly optimization?: OrtOptimization;
  /** Whether idle threads of sessions spin for the next operation, unless the session says otherwise. Changes no bits. Default false. */
  readonly spinning?: boolean;
  /** Path of another `libonnxruntime`. Default: `OARLOCK_ORT_LIBRARY`, else the one that onnxruntime-node ships. */
  readonly library?: string;
  /** Folder of CUDA's own libraries, loaded before the provider. Default: `OARLOCK_CUDA_LIBRARIES`, else the loader's search path. */
  readonly cudaLibraries?: string;
  /** Options of the provider, e.g. `{ device_id: "0", use_tf32: "0" }` or `{ enableGraphCapture: "1" }`. */
  readonly providerOptions?: Readonly<Record<string, string>>;
}
