/** The telemetry of a run in one process: whose it is, and how its warnings reach the user. */
import type { ResolvedRun } from "@oarlock/runfile";
import { processEnvironment } from "@oarlock/runtime";
import type { Log } from "@oarlock/runtime";
import { openTelemetry, readTelemetrySettings } from "@oarlock/telemetry";
import type { ProcessTelemetry } from "@oarlock/telemetry";
import type { LocalRunOptions } from "./types.ts";

/** Refuses settings that cannot be used, before a folder is made for the run (X1). */
export function checkTelemetrySettings(): void {
  readTelemetrySettings(processEnvironment());
}

/** Opens what the environment asks for; nothing, usually. */
export function openRunTelemetry(
  run: ResolvedRun,
  options: Pick<LocalRunOptions, "environment" | "onEvent"> & { readonly uid: string; readonly log: Log },
): Promise<ProcessTelemetry> {
  const { uid, log, onEvent, environment = processEnvironment() } = options;
  const warn: Log["warn"] = (message, fields) => {
    log.warn(message, fields);
    const url = fields?.["url"];
    onEvent?.({ type: "warning", message: typeof url === "string" ? `${message} (${url})` : message });
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
