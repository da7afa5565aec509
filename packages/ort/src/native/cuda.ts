/** NVIDIA's cards: what CUDA and its driver are asked, and how ONNX Runtime's provider for them is added. */
import { dirname, join } from "node:path";
import { platform } from "node:process";
import { OarlockError } from "@oarlock/errors";
import { readOrtEnvironment } from "../config.ts";
import { providerMissing } from "../provider-missing.ts";
import type { OpenOrtOptions } from "../types.ts";
import type { NativeEngine } from "./engine.ts";
import { keepLibrary } from "./library.ts";
import { type Pointer, stringArray } from "./pointers.ts";

/** Loaded in this order by absolute path, so that the provider finds them by name without LD_LIBRARY_PATH. */
const CUDA_RUNTIME = "libcudart.so.13";
const CUDA_LIBRARIES = [CUDA_RUNTIME, "libcublasLt.so.13", "libcublas.so.13", "libcurand.so.10"];
/** What `cudaGetDeviceCount` says where there is no usable device. */
const CUDA_ERRORS: Readonly<Record<number, string>> = {
  35: "no NVIDIA driver, or one older than CUDA 13 needs",
  100: "no CUDA-capable device",
};
/** TF32 rounds products to 10 bits; an arena that doubles would hold twice what it needs, for each of many sessions. */
const CUDA_DEFAULTS = { use_tf32: "0", arena_extend_strategy: "kSameAsRequested" };

const folderOf = (options: OpenOrtOptions): string | undefined =>
  options.cudaLibraries ?? readOrtEnvironment().cudaLibraries;

const loaded = (name: string, folder: string | undefined): ReturnType<typeof keepLibrary> =>
  keepLibrary(folder === undefined ? name : join(folder, name));

/** Asks CUDA itself whether there is a device, before ONNX Runtime fails with less to say. */
export function probeCuda(options: OpenOrtOptions): void {
  const folder = folderOf(options);
  let count: Int32Array;
  let status: number;
  try {
    const [runtime] = CUDA_LIBRARIES.map((name) => loaded(name, folder));
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

export function appendCuda({ api, options }: NativeEngine, target: Pointer): void {
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
export function registerCuda({ api, environment, libraryPath }: NativeEngine): void {
  const path = join(dirname(libraryPath), CUDA_PROVIDER[platform] ?? "onnxruntime_providers_cuda");
  try {
    api.call.RegisterExecutionProviderLibrary(environment, "CUDAExecutionProvider", path);
  } catch (cause) {
    if (cause instanceof OarlockError && REGISTERED.test(cause.rawMessage)) return;
    throw cause;
  }
}

/** The part of a card's memory that stays free while sessions keep scratch memory: no pass may need more than that. */
const RESERVE = 1 / 2;

interface MemoryQuestion {
  readonly choose: (ordinal: number) => number;
  readonly ask: (free: BigUint64Array, total: BigUint64Array) => number;
}
let question: MemoryQuestion | undefined;

function memoryQuestion(options: OpenOrtOptions): MemoryQuestion {
  const runtime = loaded(CUDA_RUNTIME, folderOf(options));
  return {
    choose: runtime.func("int cudaSetDevice(int ordinal)"),
    ask: runtime.func("int cudaMemGetInfo(void *free, void *total)"),
  };
}

/** Whether less than the reserve is free on the engine's card. */
export function isCudaMemoryShort({ options, deviceId }: NativeEngine): boolean {
  question ??= memoryQuestion(options);
  const [free, total] = [new BigUint64Array(1), new BigUint64Array(1)];
  const status = question.choose(deviceId) || question.ask(free, total);
  if (status !== 0) throw new OarlockError("ORT_CALL_FAILED", `cudaMemGetInfo returned ${status}`);
  return Number(free[0]) < RESERVE * Number(total[0]);
}

const NAME_BYTES = 256;

/** Name of a card, and the newest CUDA that the driver speaks. Called once the provider has worked: the library is there. */
export function describeCuda(ordinal: number): { readonly name: string; readonly version: string } {
  const library = keepLibrary("libcuda.so.1");
  const call = (name: string, signature: string, ...args: readonly unknown[]): void => {
    const status = Number(library.func(`int ${name}(${signature})`)(...args));
    if (status !== 0) throw new OarlockError("ORT_PROVIDER_MISSING", `${name} returned ${status}`);
  };
  const version = new Int32Array(1);
  const device = new Int32Array(1);
  const name = new Uint8Array(NAME_BYTES);
  call("cuInit", "unsigned int flags", 0);
  call("cuDriverGetVersion", "void *version", version);
  call("cuDeviceGet", "void *device, int ordinal", device, ordinal);
  call("cuDeviceGetName", "void *name, int bytes, int device", name, NAME_BYTES, device[0]);
  const end = name.indexOf(0);
  return {
    name: Buffer.from(name.subarray(0, end < 0 ? NAME_BYTES : end)).toString(),
    version: cudaVersion(version[0] ?? 0),
  };
}

/** 13000 is 13.0, 12080 is 12.8. */
function cudaVersion(number: number): string {
  return `${Math.floor(number / 1_000)}.${Math.floor((number % 1_000) / 10)}`;
}
