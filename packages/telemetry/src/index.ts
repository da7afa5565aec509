/** Traces and metrics by OpenTelemetry: the only importer of its packages. Off, and not even loaded, unless asked for. */
export { openTelemetry } from "./open.ts";
export type { ProcessTelemetry, ServiceIdentity, TelemetryOptions } from "./open.ts";
export { readTelemetrySettings } from "./settings.ts";
export type {
  OtlpTarget,
  PullSettings,
  PushSettings,
  SamplerName,
  TelemetrySettings,
  TraceSettings,
} from "./settings.ts";
export {
  destinationAttributes,
  generationAttributes,
  groupAttributes,
  policyAttributes,
  type Destination,
  type GenerationFacts,
  type GroupFacts,
} from "./conventions.ts";
export {
  deliveryOf,
  queueSeconds,
  sendTraced,
  startProcessing,
  type Delivery,
  type Receiving,
  type Sending,
} from "./messages.ts";
export { prometheusName } from "./metric-names.ts";
