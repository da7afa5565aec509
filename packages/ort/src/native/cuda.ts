/** What NVIDIA's driver library says of a card. ONNX Runtime has no name for it. */
import { OarlockError } from "@oarlock/errors";
import { keepLibrary } from "./library.ts";

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
