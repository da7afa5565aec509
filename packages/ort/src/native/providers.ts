/**
 * Execution providers: what to load and append for each, and a clear refusal where one is missing.
 * `GetAvailableProviders` lists what was compiled in, not what works; nothing here asks it.
 */
import { dirname, join } from "node:path";
import { platform } from "node:process";
import { OarlockError, plainMessage } from "@oarlock/errors";
import { readOrtEnvironment } from "../config.ts";
import { providerMissing } from "../provider-missing.ts";
import type { OpenOrtOptions, OrtProvider } from "../types.ts";
import type { NativeEngine } from "./engine.ts";
import { keepLibrary } from "./library.ts";
import { NULL, stringArray, type Pointer } from "./pointers.ts";

/** Loaded in this order by absolute path, so that the provider finds them by name without LD_LIBRARY_PATH. */
const CUDA_LIBRARIES = ["libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13", "libcurand.so.10"];
/** What `cudaGetDeviceCount` says where there is no usable device. */
const CUDA_ERRORS: Readonly<Record<number, string>> = {
  35: "no NVIDIA driver, or one older than CUDA 13 needs",
  100: "no CUDA-capable device",
};
/** TF32 rounds products to 10 bits; an arena that doubles would hold twice what it needs, for each of many sessions. */
const CUDA_DEFAULTS = { use_tf32: "0", arena_extend_strategy: "kSameAsRequested" };

/** Asks CUDA itself whether there is a device, before ONNX Runtime fails with less to say. */
function probeCuda(options: OpenOrtOptions): void {
  const folder = options.cudaLibraries ?? readOrtEnvironment().cudaLibraries;
  const path = (name: string): string => (folder === undefined ? name : join(folder, name));
  let count: Int32Array;
  let status: number;
  try {
    const [runtime] = CUDA_LIBRARIES.map((name) => keepLibrary(path(name)));
    count = new Int32Array(1);
    status = Number(runtime?.func("int cudaGetDeviceCount(void *count)")(count));
  } catch (cause) {
    throw providerMissing(
      "cuda",
      `CUDA 13's libraries (${CUDA_LIBRARIES.join(", ")}) are not all found${folder === undefined ? "" : ` in ${folder}`}; name their folder in OARLOCK_CUDA_LIBRARIES or LD_LIBRARY_PATH`,
      cause,
    );
  }
  if (status !== 0 || count[0] === 0)
    throw providerMissing("cuda", CUDA_ERRORS[status] ?? `cudaGetDeviceCount returned ${status}`);
}

function appendCuda({ api, options }: NativeEngine, target: Pointer): void {
  const entries = Object.entries({ ...CUDA_DEFAULTS, ...options.providerOptions });
  const keys = stringArray(entries.map(([key]) => key));
  const values = stringArray(entries.map(([, value]) => value));
  const cuda = api.out.CreateCudaProviderOptions();
  try {
    // One call with every key: each call starts again from the defaults.
    api.call.UpdateCudaProviderOptions(cuda, keys.address, values.address, entries.length);
    api.call.AppendCuda(target, cuda);
  } finally {
    api.release.ReleaseCudaProviderOptions(cuda);
  }
}

function appendWebGpu({ api, options }: NativeEngine, target: Pointer): void {
  const entries = Object.entries(options.providerOptions ?? {});
  const keys = stringArray(entries.map(([key]) => key));
  const values = stringArray(entries.map(([, value]) => value));
  api.call.AppendExecutionProvider(target, "WebGPU", keys.address, values.address, entries.length);
}

const CUDA_PROVIDER: Readonly<Record<string, string>> = {
  linux: "libonnxruntime_providers_cuda.so",
  win32: "onnxruntime_providers_cuda.dll",
};
/** What the library says where another thread of the process was first. */
const REGISTERED = /already registered/;

/**
 * Copies to and from a card need its provider's library registered with the environment, which is one per process: appending the
 * provider to a session is not enough.
 */
function registerCuda({ api, environment, libraryPath }: NativeEngine): void {
  const path = join(dirname(libraryPath), CUDA_PROVIDER[platform] ?? "onnxruntime_providers_cuda");
  try {
    api.call.RegisterExecutionProviderLibrary(environment, "CUDAExecutionProvider", path);
  } catch (cause) {
    if (cause instanceof OarlockError && REGISTERED.test(cause.rawMessage)) return;
    throw cause;
  }
}

interface DeviceMemory {
  /** Its name in the C API. */
  readonly name: string;
  /** Whether a tensor's address is one that others may lie within: WebGPU's are handles of buffers. */
  readonly addressable: boolean;
}

/** What a provider needs beyond what every session does. */
interface ProviderParts {
  /** Fails early and clearly where it cannot work. Without: its first session says so. */
  readonly probe?: (options: OpenOrtOptions) => void;
  /** Once in a process, before its first session. */
  readonly prepare?: (engine: NativeEngine) => void;
  /** Adds it to session options; the processor's is always there. */
  readonly append?: (engine: NativeEngine, target: Pointer) => void;
  /** Without: host memory. */
  readonly memory?: DeviceMemory;
  /** How the C API names the arena of a session's scratch memory. */
  readonly scratchArena?: (deviceId: number) => string;
}

const PROVIDERS: { readonly [P in OrtProvider]: ProviderParts } = {
  cpu: { scratchArena: () => "cpu:0" },
  cuda: {
    probe: probeCuda,
    prepare: registerCuda,
    append: appendCuda,
    memory: { name: "Cuda", addressable: true },
    scratchArena: (deviceId) => `gpu:${deviceId}`,
  },
  webgpu: { append: appendWebGpu, memory: { name: "WebGPU_Buf", addressable: false } },
};
const DEVICE_ALLOCATOR = 0; // OrtDeviceAllocator
const MEM_TYPE_DEFAULT = 0;

/** Fails early and clearly where the provider cannot work. */
export function probeProvider(provider: OrtProvider, options: OpenOrtOptions): void {
  PROVIDERS[provider].probe?.(options);
}

/** What the engine's provider needs once in a process, before its first session. */
export function prepareProvider(engine: NativeEngine): void {
  PROVIDERS[engine.provider].prepare?.(engine);
}

/** Adds the engine's provider to session options. */
export function appendProvider(engine: NativeEngine, target: Pointer): void {
  try {
    PROVIDERS[engine.provider].append?.(engine, target);
  } catch (cause) {
    throw providerMissing(engine.provider, plainMessage(cause), cause);
  }
}

/** Whether tensors on the provider's device can have views. */
export function hasDeviceViews(provider: OrtProvider): boolean {
  return PROVIDERS[provider].memory?.addressable === true;
}

/** How the C API names the arena of a session's scratch memory; undefined: it cannot be given back. */
export function scratchArena({ provider, deviceId }: NativeEngine): string | undefined {
  return PROVIDERS[provider].scratchArena?.(deviceId);
}

/** The provider's memory: where new tensors are allocated, and what tensors over parts of them say. NULL: none. */
export interface NativeDevice {
  readonly allocator: Pointer;
  readonly memory: Pointer;
}

export const NO_DEVICE: NativeDevice = { allocator: NULL, memory: NULL };

/** The memory of `session`'s provider, for as long as the session lives. */
export function openDevice({ api, provider, deviceId }: NativeEngine, session: Pointer): NativeDevice {
  const { memory: kind } = PROVIDERS[provider];
  if (kind === undefined) return NO_DEVICE;
  const memory = api.out.CreateMemoryInfo(kind.name, DEVICE_ALLOCATOR, deviceId, MEM_TYPE_DEFAULT);
  return { allocator: api.out.CreateAllocator(session, memory), memory: kind.addressable ? memory : NULL };
}
