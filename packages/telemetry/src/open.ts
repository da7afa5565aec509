/**
 * The door to telemetry. Off by default at no cost: the SDK is loaded only where the environment asks for it. Nothing that
 * goes wrong here after the start reaches the run: it costs one warning.
 */
import { type Environment, type Log, silentTelemetry, type Telemetry } from "@oarlock/runtime";
import { isOn, readTelemetrySettings } from "./settings.ts";

export interface TelemetryOptions {
  readonly environment: Environment;
  /** Attributes of the resource that every service of the process shares, e.g. `oarlock.run.uid`. */
  readonly resource: Readonly<Record<string, string>>;
  readonly log: Log;
  /** For the last export, when the process ends. Default 5 000. */
  readonly flushTimeoutMs?: number;
}

/** Who a service is. */
export interface ServiceIdentity {
  /** "learner", "actor", "reward". */
  readonly role: string;
  /** Role and number, e.g. "actor-0". */
  readonly instance: string;
}

/** The telemetry of one process. */
export interface ProcessTelemetry extends AsyncDisposable {
  /** Of one of its services. */
  service(identity: ServiceIdentity): Telemetry;
  /** `http://host:port/metrics`, where it is served. */
  readonly metricsUrl?: string;
  /** Exports what is left, within the deadline; never rejects. */
  end(): Promise<void>;
}

const OFF: ProcessTelemetry = {
  service: () => silentTelemetry,
  end: () => Promise.resolve(),
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

/**
 * Opens what the environment asks for.
 *
 * @throws OarlockError `SETTING_INVALID`, `METRICS_BIND_FAILED`: at the start, before anything runs (X1).
 */
export async function openTelemetry(options: TelemetryOptions): Promise<ProcessTelemetry> {
  const settings = readTelemetrySettings(options.environment);
  if (!isOn(settings)) return OFF;
  const { startSdk } = await import("./sdk.ts");
  return startSdk(settings, options);
}
