/** Settings of a service that are not in the plan: who it is and where it listens. Read once, from the environment. */
import type { RpcSecurity } from "@oarlock/rpc";
import { createSettingsReader } from "@oarlock/runtime";
import type { Environment } from "@oarlock/runtime";

export interface ServiceConfig {
  /** Role and number, e.g. "actor-0". */
  readonly instance: string;
  /** Address of the gRPC server. Default loopback. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** How long a drain may finish what is in hand. */
  readonly graceMs: number;
  /** Who may call the gRPC server. Default: anybody who reaches it. */
  readonly security?: RpcSecurity;
}

const MAX_PORT = 65_535;
const MAX_GRACE_MS = 3_600_000;

/** Reads `OARLOCK_INSTANCE`, `OARLOCK_HOST`, `OARLOCK_PORT` and `OARLOCK_GRACE_MS`. */
export function readServiceConfig(
  environment: Environment,
  role: "actor" | "reward" | "learner",
): ServiceConfig {
  const settings = createSettingsReader(environment);
  return {
    instance: settings.text("OARLOCK_INSTANCE", `${role}-0`),
    host: settings.text("OARLOCK_HOST", "127.0.0.1"),
    port: settings.integer("OARLOCK_PORT", { min: 0, max: MAX_PORT, fallback: 0 }),
    graceMs: settings.integer("OARLOCK_GRACE_MS", { min: 0, max: MAX_GRACE_MS, fallback: 10_000 }),
  };
}
