/**
 * Execution providers: what to load and append for each, and a clear refusal where one is missing.
 * `GetAvailableProviders` lists what was compiled in, not what works; nothing here asks it.
 */
import { plainMessage } from "@oarlock/errors";
import { providerMissing } from "../provider-missing.ts";
import type { OpenOrtOptions, OrtProvider } from "../types.ts";
import { appendCuda, isCudaMemoryShort, probeCuda, registerCuda } from "./cuda.ts";
import type { NativeEngine } from "./engine.ts";
import { NULL, stringArray, type Pointer } from "./pointers.ts";

function appendWebGpu({ api, options }: NativeEngine, target: Pointer): void {
  const entries = Object.entries(options.providerOptions ?? {});
  const keys = stringArray(entries.map(([key]) => key));
  const values = stringArray(entries.map(([, value]) => value));
  api.call.AppendExecutionProvider(target, "WebGPU", keys.address, values.address, entries.length);
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
  /** Whether scratch memory should go back, since there is little left. Without: always. */
  readonly isMemoryShort?: (engine: NativeEngine) => boolean;
}

const PROVIDERS: { readonly [P in OrtProvider]: ProviderParts } = {
  cpu: { scratchArena: () => "cpu:0" },
  cuda: {
    probe: probeCuda,
    prepare: registerCuda,
    append: appendCuda,
    memory: { name: "Cuda", addressable: true },
    scratchArena: (deviceId) => `gpu:${deviceId}`,
    isMemoryShort: isCudaMemoryShort,
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

/** How the C API names the arena of a session's scratch memory that should go back now; undefined: it stays. */
export function scratchToRelease(engine: NativeEngine): string | undefined {
  const { scratchArena, isMemoryShort } = PROVIDERS[engine.provider];
  return isMemoryShort?.(engine) === false ? undefined : scratchArena?.(engine.deviceId);
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
