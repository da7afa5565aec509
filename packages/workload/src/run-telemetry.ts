/** The telemetry of a process that serves a run: whose it is, and how its warnings reach the user. */
import type { ResolvedRun } from "@oarlock/runfile";
import { processEnvironment } from "@oarlock/runtime";
import type { Environment, Log } from "@oarlock/runtime";
import { openTelemetry, readTelemetrySettings } from "@oarlock/telemetry";
import type { ProcessTelemetry } from "@oarlock/telemetry";

export interface RunTelemetryOptions {
  readonly uid: string;
  readonly log: Log;
  /** Default: the process's. */
  readonly environment?: Environment;
  /** Hears of what the user should know too, in one sentence. */
  readonly onWarning?: (message: string) => void;
}

/** Refuses settings that cannot be used, before a folder is made for the run (X1). */
export function checkTelemetrySettings(): void {
  readTelemetrySettings(processEnvironment());
}

/** Opens what the environment asks for; nothing, usually. */
export function openRunTelemetry(run: ResolvedRun, options: RunTelemetryOptions): Promise<ProcessTelemetry> {
  const { uid, log, onWarning, environment = processEnvironment() } = options;
  const warn: Log["warn"] = (message, fields) => {
    log.warn(message, fields);
    const url = fields?.["url"];
    onWarning?.(typeof url === "string" ? `${message} (${url})` : message);
  };
  return openTelemetry({
    environment,
    resource: {
      "oarlock.run.id": uid,
      "oarlock.run.name": run.name,
      "oarlock.plan.digest": run.digest,
      "service.version": run.inputs.engine.oarlock,
    },
    log: { ...log, warn },
  });
}
