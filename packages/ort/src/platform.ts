/** Where ONNX Runtime can run at all: a host that nothing is shipped for is refused in one sentence, before anything loads. */
import { existsSync, readdirSync } from "node:fs";
import { OarlockError } from "@oarlock/errors";

/** What of a machine decides which library fits. */
export interface Host {
  readonly platform: string;
  readonly arch: string;
  /** Whether the system's C library is musl (Alpine): ONNX Runtime is built for GNU's. */
  readonly isMusl: boolean;
}

/** Hosts that onnxruntime-node 1.30 ships a library for. */
const SHIPPED: readonly string[] = ["linux-x64", "linux-arm64", "darwin-arm64", "win32-x64", "win32-arm64"];

/** This machine. */
export function thisHost(): Host {
  const { platform, arch } = process;
  const loaders = platform === "linux" && existsSync("/lib") ? readdirSync("/lib") : [];
  return { platform, arch, isMusl: loaders.some((name) => name.startsWith("ld-musl-")) };
}

/** Throws `ORT_PLATFORM` where no library is shipped for `host`. */
export function refuseHost({ platform, arch, isMusl }: Host): void {
  const name = `${platform}-${arch}`;
  if (SHIPPED.includes(name) && !isMusl) return;
  throw new OarlockError(
    "ORT_PLATFORM",
    `ONNX Runtime ships no library for ${name}${isMusl ? " without the GNU C library (musl)" : ""}; accepted: ` +
      `${SHIPPED.join(", ")} with glibc on Linux, or a library of your own under OARLOCK_ORT_LIBRARY`,
  );
}
