/** The error of a provider that cannot be used, whoever finds it out. */
import { OarlockError } from "@oarlock/errors";
import type { OrtProvider } from "./types.ts";

/** `ORT_PROVIDER_MISSING`, with the reason. */
export function providerMissing(provider: OrtProvider, why: string, cause?: unknown): OarlockError {
  return new OarlockError(
    "ORT_PROVIDER_MISSING",
    `provider '${provider}' cannot be used here: ${why}`,
    cause === undefined ? {} : { cause },
  );
}
