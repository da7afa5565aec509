/** Sessions of the native driver: create with options and initializers, bind, run, close. */
import { OarlockError } from "@oarlock/errors";
import type { OrtBinding, OrtOptimization, OrtSession, SessionOptions } from "../types.ts";
import { createNativeBinding, type NativeBinding } from "./binding.ts";
import type { NativeEngine } from "./engine.ts";
import { createHandle, type Handle } from "./handles.ts";
import { readValueInfos } from "./metadata.ts";
import { addressOf, NULL, pointerArray, stringArray, type Pointer } from "./pointers.ts";
import { appendProvider, scratchToRelease } from "./providers.ts";
import { nativeTensor } from "./tensor.ts";

/** GraphOptimizationLevel of the C API. */
const OPTIMIZATION: { readonly [O in OrtOptimization]: number } = {
  disabled: 0,
  basic: 1,
  extended: 2,
  all: 99,
};
/** Errors come back as statuses; only what ends the process is printed. */
const LOG_FATAL_ONLY = 4;

export interface NativeSession extends OrtSession {
  readonly handle: Handle;
}

function applyOptions(engine: NativeEngine, target: Pointer, options: SessionOptions): void {
  const { call } = engine.api;
  const { fingerprint } = engine;
  call.SetIntraOpNumThreads(target, options.threads ?? fingerprint.threads);
  call.SetInterOpNumThreads(target, 1);
  call.SetSessionLogSeverityLevel(target, LOG_FATAL_ONLY);
  call.SetSessionGraphOptimizationLevel(
    target,
    OPTIMIZATION[options.optimization ?? fingerprint.optimization],
  );
  const entries = {
    "session.intra_op.allow_spinning": (options.spinning ?? engine.options.spinning) === true ? "1" : "0",
    ...options.entries,
  };
  for (const [key, value] of Object.entries(entries)) call.AddSessionConfigEntry(target, key, value);
  if (options.profile !== undefined) call.EnableProfiling(target, options.profile);
}

/** Gives the session its external initializers; returns what must outlive the session. */
function applyInitializers(engine: NativeEngine, target: Pointer, options: SessionOptions): (() => void)[] {
  const entries = Object.entries(options.initializers ?? {});
  if (entries.length === 0) return [];
  const tensors = entries.map(([name, tensor]) => nativeTensor(tensor, name));
  const names = stringArray(entries.map(([name]) => name));
  const values = pointerArray(tensors.map((tensor) => tensor.value.pointer));
  engine.api.call.AddExternalInitializers(target, names.address, values.address, entries.length);
  return tensors.map((tensor) => tensor.value.hold());
}

interface Created {
  readonly pointer: Pointer;
  readonly holds: (() => void)[];
}

async function createNative(
  engine: NativeEngine,
  model: Uint8Array,
  options: SessionOptions,
): Promise<Created> {
  const { api } = engine;
  const target = api.out.CreateSessionOptions();
  let holds: (() => void)[] = [];
  try {
    applyOptions(engine, target, options);
    appendProvider(engine, target);
    holds = applyInitializers(engine, target, options);
    const place = new BigUint64Array(1);
    const leave = await engine.pool.enter();
    try {
      await api.callAsync(
        "CreateSessionFromArray",
        engine.environment,
        addressOf(model),
        model.byteLength,
        target,
        addressOf(place),
      );
    } finally {
      leave();
    }
    return { pointer: place[0] ?? NULL, holds };
  } catch (error) {
    for (const letGo of holds) letGo();
    throw error;
  } finally {
    api.release.ReleaseSessionOptions(target);
  }
}

/** Loads `model` (bytes of an ONNX model) off the event loop. */
export async function createNativeSession(
  engine: NativeEngine,
  model: Uint8Array,
  options: SessionOptions,
): Promise<NativeSession> {
  if (model.byteLength === 0) throw new OarlockError("ORT_EMPTY_MODEL", "the model has no bytes");
  const { pointer, holds } = await createNative(engine, model, options);
  const free = (session: Pointer): void => {
    engine.api.release.ReleaseSession(session);
    for (const letGo of holds) letGo();
  };
  const handle = createHandle("session", pointer, free);
  try {
    return openSession(engine, handle, options.releasesScratch === true);
  } catch (error) {
    handle.release(); // of a type that no tensor has
    throw error;
  }
}

function openSession(engine: NativeEngine, handle: Handle, releasesScratch: boolean): NativeSession {
  const { api } = engine;
  const scratchNow = (): string | undefined => (releasesScratch ? scratchToRelease(engine) : undefined);
  const infos = {
    inputs: readValueInfos(engine, handle.pointer, "Input"),
    outputs: readValueInfos(engine, handle.pointer, "Output"),
  };
  const running = new Set<Promise<void>>();

  const own = (binding: OrtBinding): NativeBinding => {
    if ("owner" in binding && binding.owner === infos) return binding as NativeBinding; // made by `bind` below
    throw new OarlockError("ORT_FOREIGN_BINDING", "the binding was made by another session");
  };
  const words = (
    binding: NativeBinding,
    runOptions: Pointer,
  ): [Pointer, Pointer, Pointer, Pointer, number, Pointer, number, Pointer] => [
    handle.pointer,
    runOptions,
    binding.inputNames.address,
    binding.inputValues.address,
    binding.inputCount,
    binding.outputNames.address,
    binding.outputCount,
    binding.outputValues.address,
  ];
  const runAsync = async (binding: NativeBinding, signal?: AbortSignal): Promise<void> => {
    const ends: (() => void)[] = [];
    try {
      ends.push(handle.hold());
      ends.push(binding.begin());
      ends.push(await engine.pool.enter(signal));
      if (engine.exclusive !== undefined) ends.push(await engine.exclusive.enter(signal));
      await withRunOptions(engine, { signal, scratch: scratchNow() }, (runOptions) =>
        api.callAsync("Run", ...words(binding, runOptions)),
      );
    } finally {
      for (const end of ends.reverse()) end();
    }
  };
  return {
    ...infos,
    handle,
    bind: (inputs, outputs) => createNativeBinding(infos, inputs, outputs),
    async run(binding, signal) {
      const call = runAsync(own(binding), signal);
      running.add(call);
      try {
        await call;
      } finally {
        running.delete(call);
      }
    },
    runSync(binding) {
      const mine = own(binding);
      const ends = [mine.begin()];
      try {
        if (engine.exclusive !== undefined) ends.push(engine.exclusive.enterSync());
        const scratch = scratchNow();
        const options = scratch === undefined ? undefined : runOptionsOf(engine, scratch);
        if (options !== undefined) ends.push(() => options.release());
        api.call.Run(...words(mine, options?.pointer ?? NULL));
      } finally {
        for (const end of ends.reverse()) end();
      }
    },
    async close() {
      await Promise.allSettled(running);
      handle.release();
    },
  };
}

interface RunSettings {
  readonly signal: AbortSignal | undefined;
  /** The arena that gives its memory back. */
  readonly scratch: string | undefined;
}

function runOptionsOf({ api }: NativeEngine, scratch: string | undefined): Handle {
  const options = createHandle("run options", api.out.CreateRunOptions(), api.release.ReleaseRunOptions);
  if (scratch !== undefined)
    api.call.AddRunConfigEntry(options.pointer, "memory.enable_memory_arena_shrinkage", scratch);
  return options;
}

/** Runs `call` with run options that `signal` can terminate; where there is nothing to say none are made. */
async function withRunOptions(
  engine: NativeEngine,
  { signal, scratch }: RunSettings,
  call: (options: Pointer) => Promise<void>,
): Promise<void> {
  if (signal === undefined && scratch === undefined) return call(NULL);
  const options = runOptionsOf(engine, scratch);
  const stop = (): void => engine.api.call.RunOptionsSetTerminate(options.pointer);
  signal?.addEventListener("abort", stop, { once: true });
  try {
    if (signal?.aborted === true) stop();
    await call(options.pointer);
  } finally {
    signal?.removeEventListener("abort", stop);
    options.release();
  }
}
