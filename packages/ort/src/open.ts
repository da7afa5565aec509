/** Chooses the driver: native wherever it loads, else the binding, with the reason kept for logs. */
import { openBinding } from "./binding/runtime.ts";
import { causeChain, OarlockError } from "@oarlock/errors";
import { declineTelemetry, readOrtEnvironment } from "./config.ts";
import { refuseHost, thisHost } from "./platform.ts";
import type { OpenOrtOptions, OrtRuntime } from "./types.ts";

// When imported, not when called: a thread with an environment of its own cannot do it, and may open the library first.
declineTelemetry();

/** What makes `auto` fall back to the binding; anything else (a missing provider) is the caller's to know. */
const FALLBACK_CODES: readonly string[] = ["ORT_LIBRARY_NOT_LOADED", "ORT_API_TOO_OLD"];

/** Opens an engine. Close it to release its sessions. */
export async function openOrt(options: OpenOrtOptions = {}): Promise<OrtRuntime> {
  checkThreads(options.threads ?? 1);
  if ((options.library ?? readOrtEnvironment().library) === undefined) refuseHost(thisHost());
  const driver = options.driver ?? "auto";
  if (driver === "binding") return openBinding(options, "asked for");
  try {
    // Loaded late: koffi's binary may be missing on a platform where the binding works.
    const { openNative } = await import("./native/runtime.ts");
    return await openNative(options, driver === "native" ? "asked for" : "the library offers the C API");
  } catch (error) {
    if (driver === "native" || !isFallback(error)) throw error;
    return openBinding(options, `the native driver did not load: ${causeChain(error)[0] ?? "unknown"}`);
  }
}

function checkThreads(threads: number): void {
  if (Number.isInteger(threads) && threads >= 1 && threads <= 1024) return;
  throw new OarlockError("ORT_INVALID_OPTION", `threads: ${threads} is not a whole number from 1 to 1024`);
}

const isFallback = (error: unknown): boolean =>
  !(error instanceof OarlockError) || FALLBACK_CODES.includes(error.code);
