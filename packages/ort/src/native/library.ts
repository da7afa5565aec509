/**
 * Finds and loads `libonnxruntime`, and keeps it mapped until the process ends.
 *
 * koffi unloads a library when the object of `koffi.load` is collected, whatever function pointers are still in use, and
 * when the worker thread that loaded it ends: the next call then jumps into unmapped memory. Two cures, both kept: the
 * object stays on `globalThis`, and the library is opened once more with RTLD_NODELETE, which no later close undoes.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { arch, platform } from "node:process";
import { OarlockError } from "@oarlock/errors";
import type { Pointer } from "./pointers.ts";
import { koffi } from "./stacks.ts";

const FILE_NAMES: Readonly<Record<string, string>> = {
  linux: "libonnxruntime.so.1",
  darwin: "libonnxruntime.1.dylib",
  win32: "onnxruntime.dll",
};
const RTLD_NOW = 2;
const RTLD_NODELETE: Readonly<Record<string, number>> = { linux: 0x1000, darwin: 0x80 };

type Library = ReturnType<typeof koffi.load>;
const KEPT = Symbol.for("oarlock.ort.libraries");

function keptLibraries(): Map<string, Library> {
  const holder = globalThis as { [KEPT]?: Map<string, Library> }; // the symbol is this file's own
  return (holder[KEPT] ??= new Map());
}

/** Path of the library that onnxruntime-node ships for this platform. */
export function shippedLibrary(): string {
  const root = dirname(createRequire(import.meta.url).resolve("onnxruntime-node/package.json"));
  const name = FILE_NAMES[platform] ?? `onnxruntime for ${platform}`;
  const exact = join(root, "bin/napi-v6", platform, arch, name);
  return existsSync(exact) ? exact : join(root, "bin/napi-v6", platform, arch, name.replace(".1", ""));
}

/** Opens a shared library for the rest of the process's life. Repeated calls return the same object. */
export function keepLibrary(path: string): Library {
  const kept = keptLibraries();
  const found = kept.get(path);
  if (found !== undefined) return found;
  let library: Library;
  try {
    library = koffi.load(path);
  } catch (cause) {
    throw new OarlockError("ORT_LIBRARY_NOT_LOADED", `cannot load ${path}`, { cause });
  }
  kept.set(path, library);
  const noDelete = RTLD_NODELETE[platform];
  if (noDelete !== undefined)
    koffi.load(null).func("void *dlopen(const char *path, int flags)")(path, RTLD_NOW | noDelete);
  return library;
}

/** The library's version and its table of functions for `apiVersion`, null where the library is older. */
export function openApiTable(
  library: Library,
  apiVersion: number,
  length: number,
): { version: string; table: readonly Pointer[] | null } {
  const base: Pointer = library.func("OrtGetApiBase", "void *", [])();
  const [getApi, getVersion]: Pointer[] = koffi.decode(base, koffi.array("void *", 2));
  const version: string = koffi.decode(getVersion, koffi.proto("str", []))();
  const api: Pointer | null = koffi.decode(getApi, koffi.proto("void *", ["uint32_t"]))(apiVersion);
  return { version, table: api ? koffi.decode(api, koffi.array("void *", length)) : null };
}
