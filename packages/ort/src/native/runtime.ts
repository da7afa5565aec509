/** The native driver: ONNX Runtime's C API in this process. */
import { isOarlockError, plainMessage } from "@oarlock/errors";
import { copyOnHost, copyPairs } from "../check.ts";
import { readOrtEnvironment } from "../config.ts";
import { instructionSet, platformName } from "../fingerprint.ts";
import type { EngineFingerprint, OpenOrtOptions, OrtRuntime, OrtTensor } from "../types.ts";
import { openApi, type OrtApi } from "./api.ts";
import type { NativeEngine } from "./engine.ts";
import { openGate } from "./gate.ts";
import { shippedLibrary } from "./library.ts";
import { NULL, pointerArray } from "./pointers.ts";
import {
  hasDeviceViews,
  type NativeDevice,
  NO_DEVICE,
  openDevice,
  prepareProvider,
  probeProvider,
} from "./providers.ts";
import { providerMissing } from "../provider-missing.ts";
import { NEGATION } from "../smallest-model.ts";
import { createNativeSession, type NativeSession } from "./session.ts";
import { createDeviceTensor, createHostTensor, createViewTensor, nativeTensor } from "./tensor.ts";

/** Threads of libuv's pool that stay free for files, DNS and crypto. */
const POOL_RESERVE = 2;
/** Errors come back as statuses; only what ends the process is printed. */
const LOG_FATAL_ONLY = 4;
const ARENA_ALLOCATOR = 1;
const MEM_TYPE_DEFAULT = 0;

function createFingerprint(api: OrtApi, options: OpenOrtOptions): EngineFingerprint {
  return {
    engine: "onnxruntime",
    version: api.version,
    build: api.build,
    driver: "native",
    provider: options.provider ?? "cpu",
    instructionSet: instructionSet(),
    platform: platformName(),
    threads: options.threads ?? 1,
    optimization: options.optimization ?? "all",
  };
}

function openEngine(options: OpenOrtOptions): NativeEngine {
  const environment = readOrtEnvironment();
  const provider = options.provider ?? "cpu";
  probeProvider(provider, options);
  const libraryPath = options.library ?? environment.library ?? shippedLibrary();
  const api = openApi(libraryPath);
  return {
    api,
    environment: api.out.CreateEnv(LOG_FATAL_ONLY, "oarlock"),
    hostMemory: api.out.CreateCpuMemoryInfo(ARENA_ALLOCATOR, MEM_TYPE_DEFAULT),
    allocator: api.out.GetAllocatorWithDefaultOptions(),
    provider,
    fingerprint: createFingerprint(api, options),
    options,
    libraryPath,
    deviceId: Number(options.providerOptions?.["device_id"] ?? 0),
    pool: openGate("pool", Math.max(1, environment.threadPoolSize - POOL_RESERVE)),
    exclusive: provider === "webgpu" ? openGate("webgpu", 1) : undefined,
  };
}

function copyTensors(
  { api, environment }: NativeEngine,
  sources: readonly OrtTensor[],
  targets: readonly OrtTensor[],
): void {
  const pairs = copyPairs(sources, targets);
  const isOnHost = ([from, to]: (typeof pairs)[number]): boolean =>
    from.location === "host" && to.location === "host";
  // ONNX Runtime has no transfer from host memory to host memory.
  for (const pair of pairs.filter(isOnHost)) copyOnHost(...pair);
  const crossing = pairs.filter((pair) => !isOnHost(pair));
  if (crossing.length === 0) return;
  const values = (side: 0 | 1): ReturnType<typeof pointerArray> =>
    pointerArray(crossing.map((pair) => nativeTensor(pair[side], "copy").value.pointer));
  const [from, to] = [values(0), values(1)];
  api.call.CopyTensors(environment, from.address, to.address, NULL, crossing.length);
}

/**
 * The provider's memory, owned by a session that is never closed: tensors in it may outlive every other one. It is also the first that
 * the provider is asked to do. @throws OarlockError `ORT_PROVIDER_MISSING`
 */
async function deviceOf(engine: NativeEngine): Promise<NativeDevice> {
  if (engine.provider === "cpu") return NO_DEVICE;
  try {
    prepareProvider(engine);
    const { handle } = await createNativeSession(engine, NEGATION, {});
    return openDevice(engine, handle.pointer);
  } catch (cause) {
    if (isOarlockError(cause, "ORT_PROVIDER_MISSING")) throw cause;
    throw providerMissing(engine.provider, plainMessage(cause), cause);
  }
}

/** Opens the native driver, or fails with the reason (`ORT_LIBRARY_NOT_LOADED`, `ORT_API_TOO_OLD`, `ORT_PROVIDER_MISSING`). */
export async function openNative(options: OpenOrtOptions, reason: string): Promise<OrtRuntime> {
  const engine = openEngine(options);
  const sessions = new Set<NativeSession>();
  const device = await deviceOf(engine);
  const residence = hasDeviceViews(engine.provider) ? "device" : "host";

  return {
    driver: "native",
    driverReason: reason,
    provider: engine.provider,
    fingerprint: engine.fingerprint,
    async createSession(model, sessionOptions = {}) {
      const inner = await createNativeSession(engine, model, sessionOptions);
      const session: NativeSession = {
        ...inner,
        close() {
          sessions.delete(session);
          return inner.close();
        },
      };
      sessions.add(session);
      return session;
    },
    tensor: (dtype, shape, data) => createHostTensor(engine, dtype, shape, data),
    residence,
    deviceTensor: (dtype, shape) =>
      device.allocator === NULL
        ? createHostTensor(engine, dtype, shape)
        : createDeviceTensor(engine, device.allocator, dtype, shape),
    view: (tensor, start, shape) =>
      createViewTensor(engine, nativeTensor(tensor, "view"), { start, shape, deviceMemory: device.memory }),
    copy: (sources, targets) => copyTensors(engine, sources, targets),
    async close() {
      await Promise.all([...sessions].map((session) => session.close()));
    },
  };
}
