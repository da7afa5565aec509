/**
 * What is exported, and where: OpenTelemetry's own environment variables, read once, each checked. Without them nothing is
 * on. Pure.
 */
import { OarlockError, withoutCredentials } from "@oarlock/errors";
import { createSettingsReader } from "@oarlock/runtime";
import type { Environment, SettingsReader } from "@oarlock/runtime";

const SAMPLERS = [
  "always_on",
  "always_off",
  "traceidratio",
  "parentbased_always_on",
  "parentbased_always_off",
  "parentbased_traceidratio",
] as const;

export type SamplerName = (typeof SAMPLERS)[number];

/** Where one signal goes. */
export interface OtlpTarget {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Of one request, with its retries. */
  readonly timeoutMs: number;
}

export interface TraceSettings extends OtlpTarget {
  readonly sampler: SamplerName;
  /** Share of traces kept, by their id: every process keeps the same ones. */
  readonly ratio: number;
  /** Links of one span at most; the SDK's own default of 128 would cut a step's groups. */
  readonly maxLinks: number;
  /** Spans that wait for export at most; more are dropped and counted. */
  readonly maxQueue: number;
  readonly maxBatch: number;
  readonly delayMs: number;
}

export interface PushSettings extends OtlpTarget {
  readonly intervalMs: number;
}

/** Where `/metrics` is served. */
export interface PullSettings {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
}

export interface TelemetrySettings {
  readonly traces?: TraceSettings;
  /** Metrics sent by OTLP. */
  readonly push?: PushSettings;
  /** Metrics fetched by Prometheus. */
  readonly pull?: PullSettings;
  /** Of every signal, from OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME. */
  readonly resource: Readonly<Record<string, string>>;
}

const DEFAULT_ENDPOINT = "http://localhost:4318";
const MAX = 2 ** 31 - 1;
const MAX_PORT = 65_535;

/**
 * Reads the settings. Traces are on with an OTLP endpoint or OTEL_TRACES_EXPORTER=otlp; metrics are sent with
 * OTEL_METRICS_EXPORTER=otlp (or their own endpoint) and served with OARLOCK_METRICS_PORT.
 *
 * @throws OarlockError `SETTING_INVALID` that names the variable and what is accepted.
 */
export function readTelemetrySettings(environment: Environment): TelemetrySettings {
  const settings = createSettingsReader(environment);
  if (settings.flag("OTEL_SDK_DISABLED", false)) return { resource: {} };
  const traces = tracesOf(settings);
  const push = pushOf(settings);
  const pull = pullOf(settings);
  return {
    resource: resourceOf(settings),
    ...(traces === undefined ? {} : { traces }),
    ...(push === undefined ? {} : { push }),
    ...(pull === undefined ? {} : { pull }),
  };
}

/** Whether anything is on. */
export function isOn({ traces, push, pull }: TelemetrySettings): boolean {
  return traces !== undefined || push !== undefined || pull !== undefined;
}

function tracesOf(settings: SettingsReader): TraceSettings | undefined {
  const given =
    settings.text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") ?? settings.text("OTEL_EXPORTER_OTLP_ENDPOINT");
  const fallback = given === undefined ? "none" : "otlp";
  if (settings.choice("OTEL_TRACES_EXPORTER", ["otlp", "none"], fallback) === "none") return undefined;
  const whole = (name: string, fallbackValue: number, min = 1): number =>
    settings.integer(name, { min, max: MAX, fallback: fallbackValue });
  const maxQueue = whole("OTEL_BSP_MAX_QUEUE_SIZE", 16_384);
  return {
    ...targetOf(settings, "TRACES"),
    sampler: settings.choice("OTEL_TRACES_SAMPLER", SAMPLERS, "parentbased_always_on"),
    ratio: ratioOf(settings),
    maxLinks: whole("OTEL_SPAN_LINK_COUNT_LIMIT", 65_536),
    maxQueue,
    maxBatch: Math.min(maxQueue, whole("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512)),
    delayMs: whole("OTEL_BSP_SCHEDULE_DELAY", 1_000, 0),
  };
}

function pushOf(settings: SettingsReader): PushSettings | undefined {
  const own = settings.text("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT");
  // An endpoint for everything does not say that whoever listens there takes metrics: trace stores do not.
  const fallback = own === undefined ? "none" : "otlp";
  if (settings.choice("OTEL_METRICS_EXPORTER", ["otlp", "none"], fallback) === "none") return undefined;
  const intervalMs = settings.integer("OTEL_METRIC_EXPORT_INTERVAL", { min: 1, max: MAX, fallback: 60_000 });
  return { ...targetOf(settings, "METRICS"), intervalMs };
}

function pullOf(settings: SettingsReader): PullSettings | undefined {
  if (settings.text("OARLOCK_METRICS_PORT") === undefined) return undefined;
  return {
    host: settings.text("OARLOCK_METRICS_HOST", "127.0.0.1"),
    port: settings.integer("OARLOCK_METRICS_PORT", { min: 0, max: MAX_PORT, fallback: 0 }),
  };
}

function targetOf(settings: SettingsReader, signal: "TRACES" | "METRICS"): OtlpTarget {
  const own = `OTEL_EXPORTER_OTLP_${signal}`;
  const all = "OTEL_EXPORTER_OTLP";
  const either = (suffix: string): string =>
    settings.text(`${own}_${suffix}`) === undefined ? `${all}_${suffix}` : `${own}_${suffix}`;
  settings.choice(either("PROTOCOL"), ["http/protobuf"], "http/protobuf");
  const endpoint = settings.text(either("ENDPOINT"), DEFAULT_ENDPOINT);
  if (!/^https?:\/\//.test(endpoint) || !URL.canParse(endpoint)) {
    throw refuse(either("ENDPOINT"), endpoint, "an http:// or https:// URL");
  }
  // A signal's own endpoint is the whole URL; the one for all is where the signals' paths begin.
  const isOwn = settings.text(`${own}_ENDPOINT`) !== undefined;
  return {
    url: isOwn ? endpoint : `${endpoint.replace(/\/+$/, "")}/v1/${signal.toLowerCase()}`,
    headers: pairs(settings, either("HEADERS")),
    timeoutMs: settings.integer(either("TIMEOUT"), { min: 1, max: MAX, fallback: 3_000 }),
  };
}

function ratioOf(settings: SettingsReader): number {
  const text = settings.text("OTEL_TRACES_SAMPLER_ARG", "1");
  const ratio = Number(text);
  if (ratio >= 0 && ratio <= 1) return ratio;
  throw refuse("OTEL_TRACES_SAMPLER_ARG", text, "a number from 0 to 1");
}

function resourceOf(settings: SettingsReader): Record<string, string> {
  const name = settings.text("OTEL_SERVICE_NAME");
  const attributes = pairs(settings, "OTEL_RESOURCE_ATTRIBUTES");
  return name === undefined ? attributes : { ...attributes, "service.name": name };
}

/** `a=1,b=2`, values percent-encoded. */
function pairs(settings: SettingsReader, variable: string): Record<string, string> {
  const text = settings.text(variable, "");
  const entries = text.split(",").filter((part) => part.trim() !== "");
  return Object.fromEntries(
    entries.map((part) => {
      const at = part.indexOf("=");
      if (at <= 0) throw refuse(variable, text, "name=value pairs, separated by commas");
      return [part.slice(0, at).trim(), decoded(part.slice(at + 1).trim())];
    }),
  );
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a bare percent sign is one
  }
}

function refuse(name: string, value: string, accepted: string): OarlockError {
  // Headers say who we are.
  const shown = name.endsWith("_HEADERS") ? "…" : withoutCredentials(JSON.stringify(value));
  return new OarlockError("SETTING_INVALID", `environment variable ${name}=${shown}; accepted: ${accepted}`);
}
