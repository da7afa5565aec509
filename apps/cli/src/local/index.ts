export { startLocalRun } from "./start.ts";
export { checkTelemetrySettings } from "./telemetry.ts";
export type { LocalRun, LocalRunOptions, RunEvent, RunOutcome } from "./types.ts";
