/**
 * The functions of ONNX Runtime's C API that Oarlock calls: index in `OrtApi` (append-only, so an index never moves) and
 * signature. Pointers are bigints or typed arrays; what a call returns through a pointer lands in a `BigUint64Array`.
 */
import { OarlockError } from "@oarlock/errors";
import type { TypedArray } from "@oarlock/tensor";
import { keepLibrary, openApiTable } from "./library.ts";
import { NULL, textAt, type Pointer } from "./pointers.ts";
import { koffi } from "./stacks.ts";

/** CopyTensors needs 23, the graph-assignment query 24; any library that offers 24 is accepted. */
export const API_VERSION = 24;

/** One letter a parameter: pointer, size, int, NUL-terminated string. */
const letters: Readonly<Record<string, string>> = { p: "void *", z: "size_t", i: "int", s: "str" };

/** Calls that return an OrtStatus (NULL = success): index and parameters. */
const statusFunctions = {
  CreateEnv: [3, "isp"],
  CreateSessionFromArray: [8, "ppzpp"],
  Run: [9, "ppppzpzp"],
  CreateSessionOptions: [10, "p"],
  EnableProfiling: [14, "ps"],
  SetSessionLogSeverityLevel: [22, "pi"],
  SetSessionGraphOptimizationLevel: [23, "pi"],
  SetIntraOpNumThreads: [24, "pi"],
  SetInterOpNumThreads: [25, "pi"],
  SessionGetInputCount: [30, "pp"],
  SessionGetOutputCount: [31, "pp"],
  SessionGetInputTypeInfo: [33, "pzp"],
  SessionGetOutputTypeInfo: [34, "pzp"],
  SessionGetInputName: [36, "pzpp"],
  SessionGetOutputName: [37, "pzpp"],
  CreateRunOptions: [39, "p"],
  RunOptionsSetTerminate: [46, "p"],
  CreateTensorAsOrtValue: [48, "ppzip"],
  CreateTensorWithDataAsOrtValue: [49, "ppzpzip"],
  GetTensorMutableData: [51, "pp"],
  CastTypeInfoToTensorInfo: [55, "pp"],
  GetTensorElementType: [60, "pp"],
  GetDimensionsCount: [61, "pp"],
  GetDimensions: [62, "ppz"],
  GetSymbolicDimensions: [63, "ppz"],
  CreateMemoryInfo: [68, "siiip"],
  CreateCpuMemoryInfo: [69, "iip"],
  AllocatorFree: [76, "pp"],
  AddRunConfigEntry: [165, "pss"],
  GetAllocatorWithDefaultOptions: [78, "p"],
  AddSessionConfigEntry: [130, "pss"],
  CreateAllocator: [131, "ppp"],
  AddInitializer: [150, "psp"],
  AppendCuda: [204, "pp"],
  CreateCudaProviderOptions: [205, "p"],
  UpdateCudaProviderOptions: [206, "pppz"],
  AddExternalInitializers: [210, "pppz"],
  AppendExecutionProvider: [216, "psppz"],
  RegisterExecutionProviderLibrary: [301, "pss"],
  CopyTensors: [386, "ppppz"],
} as const;

/** Calls that return nothing. */
const releaseFunctions = {
  ReleaseStatus: 93,
  ReleaseMemoryInfo: 94,
  ReleaseSession: 95,
  ReleaseValue: 96,
  ReleaseRunOptions: 97,
  ReleaseTypeInfo: 98,
  ReleaseSessionOptions: 100,
  ReleaseAllocator: 132,
  ReleaseCudaProviderOptions: 208,
} as const;

const GET_ERROR_CODE = 1;
const GET_ERROR_MESSAGE = 2;
const GET_BUILD_INFO = 254;
const TABLE_LENGTH = 387;

type Argument = Pointer | number | string | TypedArray | BigUint64Array;
type StatusName = keyof typeof statusFunctions;
type StatusFunction = (...parameters: Argument[]) => void;
type OutFunction = (...parameters: Argument[]) => Pointer;

export interface OrtApi {
  readonly version: string;
  readonly build: string;
  /** Calls; a status other than success is thrown as `ORT_CALL_FAILED`. */
  readonly call: { readonly [N in StatusName]: StatusFunction };
  /** Calls with one more argument, the place for the result, and returns what was put there. */
  readonly out: { readonly [N in StatusName]: OutFunction };
  /** Calls on the thread pool. Every pointer must stay valid until the promise settles. */
  readonly callAsync: (name: StatusName, ...parameters: Argument[]) => Promise<void>;
  readonly release: { readonly [N in keyof typeof releaseFunctions]: (pointer: Pointer) => void };
}

type NativeFunction = ((...parameters: Argument[]) => Pointer) & {
  async: (...parameters: [...Argument[], (error: unknown, status: Pointer) => void]) => void;
};

/** OrtErrorCode 14: the run was stopped by `RunOptionsSetTerminate`; older libraries say 1 with this text. */
const TERMINATED = /terminate flag/;

function createStatusCheck(
  table: readonly Pointer[],
  releaseStatus: (pointer: Pointer) => void,
): (name: string, status: Pointer) => void {
  const errorCode: (status: Pointer) => number = koffi.decode(
    table[GET_ERROR_CODE],
    koffi.proto("int", ["void *"]),
  );
  const errorMessage: (status: Pointer) => Pointer = koffi.decode(
    table[GET_ERROR_MESSAGE],
    koffi.proto("void *", ["void *"]),
  );
  return (name, status) => {
    if (!status) return;
    const message = textAt(errorMessage(status));
    const code = errorCode(status);
    releaseStatus(status);
    if (TERMINATED.test(message))
      throw new OarlockError("ORT_RUN_ABORTED", "the run was stopped before its end");
    throw new OarlockError("ORT_CALL_FAILED", `${name} failed (ONNX Runtime error ${code}): ${message}`);
  };
}

/** Each value of `table` through `make`, under the same key. */
function mapTable<K extends string, V, R>(
  table: Readonly<Record<K, V>>,
  make: (value: V, key: K) => R,
): { readonly [N in K]: R } {
  // Object.entries forgets the key type; the result has exactly the keys of `table`.
  const entries = Object.entries(table) as [K, V][];
  return Object.fromEntries(entries.map(([key, value]) => [key, make(value, key)])) as { [N in K]: R };
}

/** Loads `path` and binds the functions above; `ORT_API_TOO_OLD` where the library lacks API 24. */
export function openApi(path: string): OrtApi {
  const { version, table } = openApiTable(keepLibrary(path), API_VERSION, TABLE_LENGTH);
  if (table === null) {
    throw new OarlockError(
      "ORT_API_TOO_OLD",
      `${path} is ONNX Runtime ${version} without C API ${API_VERSION}; use 1.24 or newer`,
    );
  }
  const native = (index: number, result: string, parameters: string): NativeFunction =>
    koffi.decode(
      table[index],
      koffi.proto(
        result,
        Array.from(parameters, (letter) => letters[letter] ?? letter),
      ),
    );
  const release = mapTable(releaseFunctions, (index) => {
    const free = native(index, "void", "p");
    return (pointer: Pointer): void => void free(pointer);
  });
  const check = createStatusCheck(table, release.ReleaseStatus);
  const functions = mapTable(statusFunctions, ([index, parameters]) => native(index, "void *", parameters));
  const call = mapTable(
    functions,
    (invoke, name): StatusFunction =>
      (...parameters) =>
        check(name, invoke(...parameters)),
  );
  const out = mapTable(functions, (invoke, name): OutFunction => {
    return (...parameters) => {
      const place = new BigUint64Array(1);
      check(name, invoke(...parameters, place));
      return place[0] ?? NULL;
    };
  });
  const callAsync = (name: StatusName, ...parameters: Argument[]): Promise<void> =>
    new Promise((resolve, reject) => {
      functions[name].async(...parameters, (error, status) => {
        try {
          if (error) throw error;
          check(name, status);
          resolve();
        } catch (cause) {
          reject(cause);
        }
      });
    });
  const build: string = koffi.decode(table[GET_BUILD_INFO], koffi.proto("str", []))();
  return { version, build, call, out, callAsync, release };
}
