/** The native driver: ONNX Runtime's C API in this process. */
import { OarlockError } from "@oarlock/errors";
import { readOrtEnvironment } from "../config.ts";
import { instructionSet, platformName } from "../fingerprint.ts";
import type { EngineFingerprint, OpenOrtOptions, OrtRuntime, OrtSession, OrtTensor } from "../types.ts";
import { openApi, type OrtApi } from "./api.ts";
import type { NativeEngine } from "./engine.ts";
import { openGate } from "./gate.ts";
import { shippedLibrary } from "./library.ts";
import { NULL, pointerArray, type Pointer } from "./pointers.ts";
import { createDeviceAllocator, probeProvider } from "./providers.ts";
import { createNativeSession, type NativeSession } from "./session.ts";
import { createDeviceTensor, createHostTensor, nativeTensor } from "./tensor.ts";

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
  const api = openApi(options.library ?? environment.library ?? shippedLibrary());
  return {
    api,
    environment: api.out.CreateEnv(LOG_FATAL_ONLY, "oarlock"),
    hostMemory: api.out.CreateCpuMemoryInfo(ARENA_ALLOCATOR, MEM_TYPE_DEFAULT),
    allocator: api.out.GetAllocatorWithDefaultOptions(),
    provider,
    fingerprint: createFingerprint(api, options),
    options,
    pool: openGate("pool", Math.max(1, environment.threadPoolSize - POOL_RESERVE)),
    exclusive: provider === "webgpu" ? openGate("webgpu", 1) : undefined,
  };
}

const isNative = (session: OrtSession): session is NativeSession => "handle" in session;

function copyTensors(
  { api, environment }: NativeEngine,
  sources: readonly OrtTensor[],
  targets: readonly OrtTensor[],
): void {
  if (sources.length !== targets.length) {
    throw new OarlockError(
      "ORT_SHAPE_MISMATCH",
      `copy: ${sources.length} sources, ${targets.length} targets`,
    );
  }
  for (const [i, source] of sources.entries()) {
    const target = targets[i];
    if (target === undefined || target.dtype !== source.dtype || target.byteLength !== source.byteLength) {
      throw new OarlockError("ORT_SHAPE_MISMATCH", `copy: source ${i} and its target differ in type or size`);
    }
  }
  if (sources.length === 0) return;
  const values = (tensors: readonly OrtTensor[]): ReturnType<typeof pointerArray> =>
    pointerArray(tensors.map((tensor, i) => nativeTensor(tensor, String(i)).value.pointer));
  const from = values(sources);
  const to = values(targets);
  api.call.CopyTensors(environment, from.address, to.address, NULL, sources.length);
}

/** Opens the native driver, or fails with the reason (`ORT_LIBRARY_NOT_LOADED`, `ORT_API_TOO_OLD`, `ORT_PROVIDER_MISSING`). */
export function openNative(options: OpenOrtOptions, reason: string): OrtRuntime {
  const engine = openEngine(options);
  const sessions = new Set<NativeSession>();
  const allocators = new Map<NativeSession, Pointer>();

  const closeSession = async (session: NativeSession, close: () => Promise<void>): Promise<void> => {
    sessions.delete(session);
    const allocator = allocators.get(session);
    allocators.delete(session);
    if (allocator !== undefined && allocator !== NULL) engine.api.release.ReleaseAllocator(allocator);
    await close();
  };
  const allocatorOf = (session: NativeSession): Pointer => {
    const found = allocators.get(session) ?? createDeviceAllocator(engine, session.handle.pointer);
    allocators.set(session, found);
    return found;
  };
  return {
    driver: "native",
    driverReason: reason,
    provider: engine.provider,
    fingerprint: engine.fingerprint,
    async createSession(model, sessionOptions = {}) {
      const inner = await createNativeSession(engine, model, sessionOptions);
      const session: NativeSession = { ...inner, close: () => closeSession(session, () => inner.close()) };
      sessions.add(session);
      return session;
    },
    tensor: (dtype, shape, data) => createHostTensor(engine, dtype, shape, data),
    deviceTensor(session, dtype, shape) {
      if (!isNative(session))
        throw new OarlockError("ORT_FOREIGN_SESSION", "the session belongs to another driver");
      const allocator = allocatorOf(session);
      return allocator === NULL
        ? createHostTensor(engine, dtype, shape)
        : createDeviceTensor(engine, allocator, dtype, shape);
    },
    copy: (sources, targets) => copyTensors(engine, sources, targets),
    async close() {
      await Promise.all([...sessions].map((session) => session.close()));
    },
  };
}
