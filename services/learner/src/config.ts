/** The learner service's settings that are not in the plan: who it is and where it listens. Read once, from the environment. */
import type { RpcSecurity } from "@oarlock/rpc";
import { createSettingsReader } from "@oarlock/runtime";
import type { Environment } from "@oarlock/runtime";

export interface LearnerConfig {
  /** Role and number, e.g. "learner-0". */
  readonly instance: string;
  /** Address of the gRPC server. Default loopback. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** How long a drain may finish what is in hand. */
  readonly graceMs: number;
  /** Without progress for so long, the cause is logged. Default 30 s. */
  readonly stallWarnMs?: number;
  /** Who may call the gRPC server. Default: anybody who reaches it. */
  readonly security?: RpcSecurity;
}

const MAX_PORT = 65_535;
const MAX_GRACE_MS = 3_600_000;
const STALL_WARN_MS = { min: 1_000, max: 3_600_000, fallback: 30_000 };

/** Reads `OARLOCK_INSTANCE`, `OARLOCK_HOST`, `OARLOCK_PORT`, `OARLOCK_GRACE_MS` and `OARLOCK_STALL_WARN_MS`. */
export function readLearnerConfig(environment: Environment): LearnerConfig {
  const settings = createSettingsReader(environment);
  return {
    instance: settings.text("OARLOCK_INSTANCE", "learner-0"),
    host: settings.text("OARLOCK_HOST", "127.0.0.1"),
    port: settings.integer("OARLOCK_PORT", { min: 0, max: MAX_PORT, fallback: 0 }),
    graceMs: settings.integer("OARLOCK_GRACE_MS", { min: 0, max: MAX_GRACE_MS, fallback: 10_000 }),
    stallWarnMs: settings.integer("OARLOCK_STALL_WARN_MS", STALL_WARN_MS),
  };
}
