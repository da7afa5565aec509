/** Who may call a server, from the environment: PEM files of its TLS and a bearer token. */
import { readFileSync } from "node:fs";
import { OarlockError } from "@oarlock/errors";
import { createSettingsReader } from "@oarlock/runtime";
import type { Environment } from "@oarlock/runtime";
import type { TlsOptions } from "./security.ts";

/** How calls are protected; nothing by default, which makes sense on loopback only. */
export interface RpcSecurity {
  readonly tls?: TlsOptions;
  readonly token?: string;
  /** Port of a health check in plain text, for probes. */
  readonly healthPort?: number;
}

const MAX_PORT = 65_535;

/**
 * Reads `OARLOCK_TLS_CERT`, `OARLOCK_TLS_KEY` (files, together), `OARLOCK_TLS_CA` (a file: callers must show a certificate of
 * it), `OARLOCK_TOKEN` and `OARLOCK_HEALTH_PORT`.
 */
export function readRpcSecurity(environment: Environment): RpcSecurity {
  const settings = createSettingsReader(environment);
  const [cert, key] = [pem(environment, "OARLOCK_TLS_CERT"), pem(environment, "OARLOCK_TLS_KEY")];
  const ca = pem(environment, "OARLOCK_TLS_CA");
  const token = settings.text("OARLOCK_TOKEN");
  // 0, which would be any free port, is none: nobody could find it.
  const healthPort = settings.integer("OARLOCK_HEALTH_PORT", { min: 0, max: MAX_PORT, fallback: 0 });
  if ((cert === undefined) !== (key === undefined) || (ca !== undefined && cert === undefined)) {
    throw new OarlockError(
      "SETTING_INVALID",
      "OARLOCK_TLS_CERT and OARLOCK_TLS_KEY are given together, and OARLOCK_TLS_CA only with them",
    );
  }
  return {
    ...(cert === undefined || key === undefined
      ? {}
      : { tls: { cert, key, ...(ca === undefined ? {} : { ca }) } }),
    ...(token === undefined ? {} : { token }),
    ...(healthPort === 0 ? {} : { healthPort }),
  };
}

function pem(environment: Environment, name: string): string | undefined {
  const path = createSettingsReader(environment).text(name);
  if (path === undefined) return undefined;
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new OarlockError(
      "SETTING_INVALID",
      `environment variable ${name}=${JSON.stringify(path)} cannot be read; accepted: a PEM file`,
      { cause },
    );
  }
}
