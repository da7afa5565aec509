/**
 * What a provider computes on, asked of the provider itself: one operation runs on it, so that a device that cannot be used is
 * known before models are fetched. Nothing falls back to the CPU. It knows nothing of plans or pods.
 */
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { isOarlockError, plainMessage } from "@oarlock/errors";
import { instructionSet } from "./fingerprint.ts";
import { openOrt } from "./open.ts";
import { providerMissing } from "./provider-missing.ts";
import { NEGATION } from "./smallest-model.ts";
import type { EngineFingerprint, OpenOrtOptions, OrtProvider, OrtRuntime } from "./types.ts";

export interface Device {
  readonly provider: OrtProvider;
  /** Its name, e.g. `AMD EPYC 7B13 (x64-avx2)` or `NVIDIA H100 80GB HBM3`. */
  readonly device: string;
  /** What drives it, e.g. `NVIDIA 580.65.06, CUDA 13.0, ONNX Runtime 1.30.0 (native)`. */
  readonly driver: string;
}

export interface ProbedDevice {
  readonly device: Device;
  readonly fingerprint: EngineFingerprint;
}

/** Probes the device of an engine that is opened so. @throws OarlockError `ORT_PROVIDER_MISSING` where it cannot be used. */
export async function probeDevice(options: OpenOrtOptions): Promise<ProbedDevice> {
  const ort = await openOrt(options);
  try {
    const { provider, fingerprint } = ort;
    await computeOnce(ort);
    const { device, drivers } = await DEVICES[provider](options);
    const engine = `ONNX Runtime ${fingerprint.version} (${ort.driver})`;
    return { device: { provider, device, driver: [...drivers, engine].join(", ") }, fingerprint };
  } finally {
    await ort.close();
  }
}

/** One operation on the device itself. */
async function computeOnce(ort: OrtRuntime): Promise<void> {
  const y = ort.tensor("float32", [1]);
  try {
    // Entries are for other providers: this one is the fallback.
    const options = ort.provider === "cpu" ? {} : { entries: { "session.disable_cpu_ep_fallback": "1" } };
    const session = await ort.createSession(NEGATION, options);
    const x = ort.tensor("float32", [1], new Float32Array([2]));
    await session.run(session.bind({ x }, { y }));
  } catch (cause) {
    if (isOarlockError(cause, "ORT_PROVIDER_MISSING")) throw cause;
    throw providerMissing(ort.provider, plainMessage(cause), cause);
  }
  if (y.data[0] !== -2) throw providerMissing(ort.provider, `it computes −2 as ${y.data[0]}`);
}

interface Described {
  readonly device: string;
  readonly drivers: readonly string[];
}

const DEVICES: { readonly [P in OrtProvider]: (options: OpenOrtOptions) => Described | Promise<Described> } =
  {
    cpu: () => ({ device: cpuName(), drivers: [] }),
    cuda: async (options) => {
      // Loaded late, as the native driver is.
      const { describeCuda } = await import("./native/cuda.ts");
      const { name, version } = describeCuda(Number(options.providerOptions?.["device_id"] ?? 0));
      const driver = nvidiaVersion(readOr("/proc/driver/nvidia/version", ""));
      return {
        device: name,
        drivers: [...(driver === undefined ? [] : [`NVIDIA ${driver}`]), `CUDA ${version}`],
      };
    },
    // ONNX Runtime tells nobody which adapter it chose.
    webgpu: () => ({ device: "WebGPU adapter", drivers: [] }),
  };

/** This machine's processor: its model, and the instruction set that kernels are chosen by (D1b). */
export function cpuName(): string {
  const model = cpus()[0]?.model.trim() ?? "";
  return model === "" ? instructionSet() : `${model} (${instructionSet()})`;
}

/** The kernel module's version in the text of /proc/driver/nvidia/version. */
export function nvidiaVersion(text: string): string | undefined {
  return /^NVRM version:.*?\s(\d+\.\d+(?:\.\d+)?)\s/m.exec(text)?.[1];
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return otherwise; // not Linux, or a container that is not shown it
  }
}
