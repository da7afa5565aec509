/** Our `Meter` over OpenTelemetry's: one provider for the process; every value says which service it is of. */
import type {
  Meter as SdkMeter,
  MeterProvider as ApiMeterProvider,
  ObservableResult,
} from "@opentelemetry/api";
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-proto";
import type { Resource } from "@opentelemetry/resources";
import { MeterProvider, type MetricReader, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import {
  type Attributes,
  type Instrument,
  type Log,
  type Meter,
  type Recorder,
  observeProcess,
  processWaits,
  silentMeter,
} from "@oarlock/runtime";
import { defined } from "./defined.ts";
import { servePrometheus, type PrometheusEndpoint } from "./prometheus.ts";
import { quietExporter } from "./quiet-exporter.ts";
import type { PushSettings, TelemetrySettings } from "./settings.ts";

export interface Metrics {
  /** The meter of one service of the process. */
  meter(instance: string): Meter;
  readonly provider: ApiMeterProvider | undefined;
  /** Where Prometheus fetches them. */
  readonly url: string | undefined;
  end(): Promise<void>;
}

/** Name of the attribute that tells the services of one process apart. */
const SERVICE = "oarlock.service";

/** Starts what is on. */
export async function startMetrics(
  { push, pull }: TelemetrySettings,
  { resource, log }: { readonly resource: Resource; readonly log: Log },
): Promise<Metrics> {
  if (push === undefined && pull === undefined) {
    return { meter: () => silentMeter, provider: undefined, url: undefined, end: () => Promise.resolve() };
  }
  const endpoint = pull === undefined ? undefined : await servePrometheus(pull, log);
  const readers = [
    ...(endpoint === undefined ? [] : [endpoint.reader]),
    ...(push === undefined ? [] : [pusher(push, log)]),
  ];
  const provider = new MeterProvider({ resource, readers });
  const made = createInstruments(provider.getMeter("oarlock"));
  const unobserve = observeProcess(meterOf(made, {}), () => processWaits.open());
  return {
    meter: (instance) => meterOf(made, { [SERVICE]: instance }),
    provider,
    url: endpoint?.url,
    end: () => {
      unobserve();
      return endAll(provider, endpoint);
    },
  };
}

function pusher({ url, headers, timeoutMs, intervalMs }: PushSettings, log: Log): MetricReader {
  const exporter = new OTLPMetricExporter({ url, headers: { ...headers }, timeoutMillis: timeoutMs });
  return new PeriodicExportingMetricReader({
    exporter: quietExporter(exporter, { what: "metrics", url, log }),
    exportIntervalMillis: intervalMs,
    exportTimeoutMillis: Math.min(intervalMs, timeoutMs),
  });
}

async function endAll(provider: MeterProvider, endpoint: PrometheusEndpoint | undefined): Promise<void> {
  await endpoint?.close();
  await provider.shutdown();
}

type Read = Parameters<Meter["observe"]>[1];
type Values = readonly (readonly [number, Attributes])[];

interface InstrumentsMade {
  recorder(instrument: Instrument): Recorder;
  observe(instrument: Instrument, read: () => Promise<Values>): void;
}

/** Every instrument once, by name: two services of a process share it. */
function createInstruments(meter: SdkMeter): InstrumentsMade {
  const recorders = new Map<string, Recorder>();
  const make = ({ name, kind, unit, description, boundaries }: Instrument): Recorder => {
    if (kind !== "histogram") {
      const counter = meter.createCounter(name, { unit, description });
      return (value, attributes = {}) => counter.add(value, defined(attributes));
    }
    const advice = boundaries === undefined ? {} : { advice: { explicitBucketBoundaries: [...boundaries] } };
    const histogram = meter.createHistogram(name, { unit, description, ...advice });
    return (value, attributes = {}) => histogram.record(value, defined(attributes));
  };
  return {
    recorder(instrument) {
      const known = recorders.get(instrument.name) ?? make(instrument);
      recorders.set(instrument.name, known);
      return known;
    },
    observe({ name, kind, unit, description }, read) {
      const options = { unit, description };
      const observable =
        kind === "counter"
          ? meter.createObservableCounter(name, options)
          : meter.createObservableGauge(name, options);
      observable.addCallback(async (result: ObservableResult) => {
        for (const [value, attributes] of await read()) result.observe(value, defined(attributes));
      });
    },
  };
}

/** `own` are attributes of every value. */
function meterOf(made: InstrumentsMade, own: Attributes): Meter {
  const measured = async (read: Read): Promise<Values> => {
    const values = await read();
    return typeof values === "number"
      ? [[values, own]]
      : values.map(({ value, attributes }) => [value, { ...attributes, ...own }]);
  };
  return {
    recorder(instrument) {
      const record = made.recorder(instrument);
      return (value, attributes) => record(value, { ...attributes, ...own });
    },
    observe: (instrument, read) => made.observe(instrument, () => measured(read)),
  };
}
