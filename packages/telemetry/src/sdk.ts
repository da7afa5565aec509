/** The SDK, assembled from the settings: one pipeline of spans for the process, a provider for each service, one meter. */
import { resourceFromAttributes } from "@opentelemetry/resources";
import { waitFor } from "@oarlock/runtime";
import { startMetrics } from "./metrics.ts";
import type { ProcessTelemetry, ServiceIdentity, TelemetryOptions } from "./open.ts";
import type { TelemetrySettings } from "./settings.ts";
import { startTracing } from "./tracing.ts";

const FLUSH_TIMEOUT_MS = 5_000;

/** Starts what is on. */
export async function startSdk(
  settings: TelemetrySettings,
  options: TelemetryOptions,
): Promise<ProcessTelemetry> {
  const { log, flushTimeoutMs = FLUSH_TIMEOUT_MS } = options;
  const common = { "service.namespace": "oarlock", ...options.resource };
  const resourceOf = ({ role, instance }: ServiceIdentity): ReturnType<typeof resourceFromAttributes> =>
    resourceFromAttributes({
      "service.name": `oarlock-${role}`,
      "service.instance.id": instance,
      ...common,
      ...SDK_ATTRIBUTES,
      ...settings.resource,
    });
  const metrics = await startMetrics(settings, {
    resource: resourceFromAttributes({
      "service.name": "oarlock",
      ...common,
      ...SDK_ATTRIBUTES,
      ...settings.resource,
    }),
    log,
  });
  const tracing = startTracing(settings.traces, { log, meterProvider: metrics.provider });
  let ended: Promise<void> | undefined;
  const end = (): Promise<void> => {
    // Together: a trace store that is gone must not cost the metrics their last export.
    const all = Promise.all([tracing.end(), metrics.end()]);
    ended ??= waitFor("telemetry to export what is left", all, { timeoutMs: flushTimeoutMs }).then(
      () => undefined,
      (reason: unknown) => log.warn("telemetry did not export everything", { err: reason }),
    );
    return ended;
  };
  return {
    service: (identity) => ({
      tracer: tracing.tracer(resourceOf(identity)),
      meter: metrics.meter(identity.instance),
    }),
    ...(metrics.url === undefined ? {} : { metricsUrl: metrics.url }),
    end,
    [Symbol.asyncDispose]: end,
  };
}

/** No detectors: they would put the command line and its secrets into every trace. */
const SDK_ATTRIBUTES = { "telemetry.sdk.language": "nodejs", "telemetry.sdk.name": "opentelemetry" } as const;
