/**
 * Execution providers: what to load and append for each, and a clear refusal where one is missing.
 * `GetAvailableProviders` lists what was compiled in, not what works; nothing here asks it.
 */
import { dirname, join } from "node:path";
import { platform } from "node:process";
import { OarlockError } from "@oarlock/errors";
import { readOrtEnvironment } from "../config.ts";
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

/** The error of a provider that cannot be used. */
export const missing = (provider: OrtProvider, why: string, cause?: unknown): OarlockError =>
  new OarlockError(
    "ORT_PROVIDER_MISSING",
    `provider '${provider}' cannot be used here: ${why}`,
    cause === undefined ? {} : { cause },
  );

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
    throw missing(
      "cuda",
      `CUDA 13's libraries (${CUDA_LIBRARIES.join(", ")}) are not all found${folder === undefined ? "" : ` in ${folder}`}; name their folder in OARLOCK_CUDA_LIBRARIES or LD_LIBRARY_PATH`,
      cause,
    );
  }
  if (status !== 0 || count[0] === 0)
    throw missing("cuda", CUDA_ERRORS[status] ?? `cudaGetDeviceCount returned ${status}`);
}

const probes: { readonly [P in OrtProvider]: (options: OpenOrtOptions) => void } = {
  cpu: () => undefined,
  cuda: probeCuda,
  webgpu: () => undefined, // the first session says whether an adapter was found
};

/** Fails early and clearly where the provider cannot work. */
export function probeProvider(provider: OrtProvider, options: OpenOrtOptions): void {
  probes[provider](options);
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

/** What a provider needs once in a process, before its first session. */
export const prepareProvider: { readonly [P in OrtProvider]: (engine: NativeEngine) => void } = {
  cpu: () => undefined,
  cuda: registerCuda,
  webgpu: () => undefined,
};

const append: { readonly [P in OrtProvider]: (engine: NativeEngine, target: Pointer) => void } = {
  cpu: () => undefined,
  cuda: appendCuda,
  webgpu: appendWebGpu,
};

/** Adds the engine's provider to session options. */
export function appendProvider(engine: NativeEngine, target: Pointer): void {
  try {
    append[engine.provider](engine, target);
  } catch (cause) {
    throw missing(engine.provider, cause instanceof OarlockError ? cause.rawMessage : String(cause), cause);
  }
}

interface DeviceMemory {
  /** Its name in the C API. */
  readonly name: string;
  /** Whether a tensor's address is one that others may lie within: WebGPU's are handles of buffers. */
  readonly addressable: boolean;
}

const DEVICE_MEMORY: { readonly [P in OrtProvider]: DeviceMemory | null } = {
  cpu: null,
  cuda: { name: "Cuda", addressable: true },
  webgpu: { name: "WebGPU_Buf", addressable: false },
};
const DEVICE_ALLOCATOR = 0; // OrtDeviceAllocator
const MEM_TYPE_DEFAULT = 0;

/** Whether tensors on the provider's device can have views. */
export function hasDeviceViews(provider: OrtProvider): boolean {
  return DEVICE_MEMORY[provider]?.addressable === true;
}

/** How the C API names the arena of a session's scratch memory. */
export function scratchArena({ provider, deviceId }: NativeEngine): string | undefined {
  return { cpu: "cpu:0", cuda: `gpu:${deviceId}`, webgpu: undefined }[provider];
}

/** The provider's memory: where new tensors are allocated, and what tensors over parts of them say. NULL: none. */
export interface NativeDevice {
  readonly allocator: Pointer;
  readonly memory: Pointer;
}

export const NO_DEVICE: NativeDevice = { allocator: NULL, memory: NULL };

/** The memory of `session`'s provider, for as long as the session lives. */
export function openDevice({ api, provider, deviceId }: NativeEngine, session: Pointer): NativeDevice {
  const kind = DEVICE_MEMORY[provider];
  if (kind === null) return NO_DEVICE;
  const memory = api.out.CreateMemoryInfo(kind.name, DEVICE_ALLOCATOR, deviceId, MEM_TYPE_DEFAULT);
  return { allocator: api.out.CreateAllocator(session, memory), memory: kind.addressable ? memory : NULL };
}
