/** D1b: the instruction set of this machine, read from what the operating system says; no timing, no core count. */
import { readFileSync } from "node:fs";
import { arch, platform } from "node:process";

/** CPU flags that change which kernels ONNX Runtime (MLAS) picks, widest first; the first one present names the set. */
const LEVELS: Readonly<Record<string, readonly (readonly [flag: string, name: string])[]>> = {
  x64: [
    ["amx_tile", "amx"],
    ["avx512_bf16", "avx512bf16"],
    ["avx512_vnni", "avx512vnni"],
    ["avx512f", "avx512"],
    ["avx_vnni", "avx2vnni"],
    ["avx2", "avx2"],
    ["avx", "avx"],
  ],
  arm64: [
    ["sme", "sme"],
    ["sve", "sve"],
    ["i8mm", "i8mm"],
    ["asimddp", "dotprod"],
  ],
};

const readCpuInfo = (): string => {
  try {
    return readFileSync("/proc/cpuinfo", "utf8");
  } catch {
    return ""; // not Linux: the architecture alone names the set
  }
};

/** `x64-avx2`, `arm64-sve`, …; `x64-baseline` where the flags are unknown. `cpuInfo` is the text of /proc/cpuinfo. */
export function instructionSet(cpuInfo: string = readCpuInfo(), architecture: string = arch): string {
  const line = /^(?:flags|Features)\s*:(.*)$/m.exec(cpuInfo)?.[1] ?? "";
  const flags = new Set(line.trim().split(/\s+/));
  const level = (LEVELS[architecture] ?? []).find(([flag]) => flags.has(flag));
  return `${architecture}-${level?.[1] ?? "baseline"}`;
}

export const platformName = (): string => platform;
